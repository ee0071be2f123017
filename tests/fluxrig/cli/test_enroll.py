"""`fluxrig enroll`: what it prints and keeps, how it waits, and how it ends."""

import asyncio
import io
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluxrig.cli.console import run
from fluxrig.cli.main import app
from fluxrig.identity.folder import IdentityFolder
from mixer.enrolment.registry import State
from tests.mixer.enrolment.office import RACK, UNS, Edge, Office, opened

RACK_FILE = f"""
rack: {RACK}
uns: {UNS}
snake: {{join: join.token}}
gears:
  counter: {{kind: simulate, rate: 1}}
wires: [counter -> uplink]
"""


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(tmp_path / "mixer") as office:
        yield office


async def enroll(*arguments: str) -> int:
    """Run the command beside the server's loop."""
    return await asyncio.to_thread(run, app, ["enroll", *arguments])


async def test_a_token_that_says_it_all(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name and path from the token: one command, JSON on stdout, the rest on stderr, no secret in either."""
    token = office.token(approve=True, rack=RACK, uns=UNS)
    assert await enroll(token.encode(), "--state", str(tmp_path / "state"), "--json") == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    identity = IdentityFolder(tmp_path / "state").load()
    assert identity is not None
    assert (shown["rack"], shown["uns"], shown["mixer"]) == (RACK, UNS, "127.0.0.1:7422")
    assert f"this Rack's key is {shown['key']}\n" in err
    assert shown["key"] == identity.keys().public.fingerprint
    for secret in (token.encode(), token.secret.hex(), identity.keys().nats.seed.decode()):
        assert secret not in out + err


@pytest.mark.parametrize("way", ["file", "stdin", "environment"])
async def test_a_token_need_not_be_on_the_command_line(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """From a private file, a pipe or the environment, with the Rack file for the names."""
    text = office.token(approve=True).encode()
    (tmp_path / "rack.yaml").write_text(RACK_FILE)
    options = ["--file", str(tmp_path / "rack.yaml"), "--state", str(tmp_path / "state")]
    if way == "file":
        file = tmp_path / "join.token"
        file.touch(0o600)
        file.write_text(text)
        options.append(str(file))
    elif way == "stdin":
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
        options.append("-")
    else:
        monkeypatch.setenv("FLUXRIG_JOIN", text)
    assert await enroll(*options) == 0
    assert office.rack().state is State.APPROVED


async def test_waiting_ends_by_ctrl_c_and_goes_on(office: Office, tmp_path: Path) -> None:
    """It says what to compare and whom to ask; after Ctrl-C the same command goes on with the same keys."""
    token = office.token().encode()
    options = ("enroll", token, "--rack", RACK, "--uns", UNS, "--state", str(tmp_path / "state"))
    keys = []
    for turn in range(2):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fluxrig", *options, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        said = b""
        async with asyncio.timeout(20):
            while b"waiting for the operator" not in said:
                said += await process.stderr.readline()
            keys.append(re.findall(rb"with key ([0-9a-f-]{39}): mixer racks approve", said)[0].decode())
            if turn:
                office.registry.approve(office.rack(), "op")
                assert await process.wait() == 0
            else:
                process.send_signal(signal.SIGINT)
                rest = await process.stderr.read()
                assert await process.wait() == 130
                assert rest == b"not decided yet; the same command goes on with the same keys\n"
    rack = office.rack()
    assert rack.keys is not None
    assert keys == [rack.keys.fingerprint] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        (["fluxrig-join-1.abc"], 1, "error: this join token is cut or mistyped"),
        (["no-such-file"], 1, "error: no join token at 'no-such-file'"),
        ([], 1, "error: there is no join token; give it, a file with it, - for stdin, or set FLUXRIG_JOIN"),
        (["{token}"], 2, "--rack and --uns"),
        (["{token}", "--rack", "a"], 2, "or --uns"),
        (["{token}", "--file", "missing.yaml"], 2, "does not exist"),
        (["{token}", "--rack", "B", "--uns", "a"], 2, "a Rack's name has up to 32"),
        (["{token}", "--rack", "a", "--uns", "a//b"], 2, "a UNS segment is empty"),
        (["{token}", "--rack", "a", "--uns", "a", "--wait", "10ms"], 1, "not decided in time"),
        (["{used}", "--rack", "a", "--uns", "a"], 1, "error: the join token"),
    ],
)
async def test_what_goes_wrong_is_one_error(
    office: Office,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    wrong: tuple[list[str], int, str],
) -> None:
    """Wrong use exits with 2, a refusal with 1; one line says what to do, and no identity is left."""
    arguments, code, said = wrong
    monkeypatch.setenv("COLUMNS", "200")
    used = office.token()
    office.tokens.revoke(used.id)
    texts = {"{token}": office.token().encode(), "{used}": used.encode()}
    given = [texts.get(word, word) for word in arguments]
    assert await enroll(*given, "--state", str(tmp_path / "state")) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert IdentityFolder(tmp_path / "state").load() is None


async def test_new_keys_for_a_revoked_rack(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error of the one command names the other that helps."""
    old = (await Edge(tmp_path / "state").join(office.token(approve=True))).keys().public
    office.registry.revoke(office.rack(), "op")
    options = (
        office.token(approve=True, rack=RACK, uns=UNS).encode(),
        "--state",
        str(tmp_path / "state"),
    )
    assert await enroll(*options) == 1
    assert "fluxrig enroll TOKEN --new-keys" in capsys.readouterr().err
    assert await enroll(*options, "--new-keys") == 0
    assert office.rack().keys != old
