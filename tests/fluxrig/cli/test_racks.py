"""`mixer racks` and `mixer join-token` at the terminal, against a Mixer in a process of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxrig.cli.console import run
from fluxrig.cli.main import app as fluxrig
from fluxrig.cli.mixer import app as mixer
from tests.processes import MIXER, Running, running, until

NAMES = ("--rack", "press", "--uns", "acme/lyon")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    """A Mixer's data folder, and the Mixer."""
    folder = tmp_path_factory.mktemp("site")
    ports = ("--listen", "127.0.0.1:0", "--enrol", "127.0.0.1:0")
    with running((*MIXER, "up", "--data", str(folder / "data"), *ports), folder / "log") as process:
        until((folder / "data" / "run.json").exists, "the Mixer")
        yield folder / "data", process


def ask(data: Path, *arguments: str, code: int = 0) -> None:
    assert run(mixer, [*arguments, "--data", str(data)]) == code


def asked(data: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    capsys.readouterr()
    ask(data, *arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_a_racks_way_in_and_out(
    site: tuple[Path, Running], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Token, enrolment, list, approval, suspension and revocation, as an operator types them."""
    data, process = site
    ask(data, "join-token", "create", *NAMES)
    token, told = capsys.readouterr()
    assert "for Rack press, until " in told
    assert token.count("\n") == 1
    enroll = ["enroll", token.strip(), *NAMES, "--state", str(tmp_path / "state")]
    assert run(fluxrig, [*enroll, "--wait", "100ms"]) == 1
    key = capsys.readouterr().err.partition("this Rack's key is ")[2].split()[0]
    ask(data, "racks", "list")
    listed = capsys.readouterr().out
    assert f"Rack press asks from 127.0.0.1 with key {key}\n" in listed
    assert "mixer racks approve press\n" in listed
    ask(data, "racks", "approve", "press", "--key", "0" * 32, code=1)
    assert "it may not be the one you mean" in capsys.readouterr().err
    ask(data, "racks", "approve", "press", "--key", key)
    assert capsys.readouterr().out == "Rack press is approved\n"
    assert run(fluxrig, enroll) == 0
    ask(data, "racks", "suspend", "press", "--reason", "repair")
    ask(data, "racks", "show", "press")
    shown = capsys.readouterr().out
    assert "state: suspended\n" in shown
    assert "reason: repair\n" in shown
    assert f"key: {key}\n" in shown
    ask(data, "racks", "resume", "press")
    ask(data, "racks", "revoke", "press")
    capsys.readouterr()
    assert run(fluxrig, enroll) == 1
    assert "were revoked" in capsys.readouterr().err
    (rack,) = asked(data, capsys, "racks", "list")  # type: ignore[misc]
    assert (rack["rack"], rack["state"], rack["retired"][0]["why"]) == ("press", "revoked", "revoked")
    said = process.said()
    assert token.strip() not in said
    assert sum("the keys of Rack press were revoked" in line for line in said.splitlines()) == 1


def test_join_tokens_are_kept_account_of(
    site: tuple[Path, Running], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Defaults of one hour and one use; a file that only its owner reads; a list without secrets."""
    data, _ = site
    made = asked(data, capsys, "join-token", "create")
    assert isinstance(made, dict)
    assert (made["uses"], made["project"], made["rack"], made["approve"]) == (1, "default", "", False)
    assert made["expires_s"] - made["created_s"] == pytest.approx(3600)
    file = tmp_path / "join.token"
    ask(data, "join-token", "create", "--approve", "--uses", "3", "--out", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    listed = asked(data, capsys, "join-token", "list")
    assert made["token"] not in json.dumps(listed)
    ask(data, "join-token", "list")
    assert made["id"] in capsys.readouterr().out
    ask(data, "join-token", "revoke", made["id"])
    states = {one["id"]: one["state"] for one in asked(data, capsys, "join-token", "list")}  # type: ignore[attr-defined]
    assert states[made["id"]] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("racks", "show", "nobody"), "there is no Rack nobody; see mixer racks list"),
        (("racks", "revoke", "nobody", "--project", "p"), "there is no Rack nobody in project p"),
        (("join-token", "create", "--project", "nowhere"), "there is no project nowhere"),
        (("join-token", "create", "--rack", "No Name"), "a Rack's name has up to 32"),
        (("join-token", "create", "--mixer", "a b"), "'a b' is not host:port"),
        (("join-token", "revoke", "none"), "there is no join token none"),
    ],
)
def test_what_is_wrong_is_one_line(
    site: tuple[Path, Running], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """It failed: exit code 1, nothing on stdout, one line that says what to do."""
    ask(site[0], *arguments, code=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("left", [None, '{"url": "nats://127.0.0.1:1", "token": "t", "pid": 1}', "{}"])
def test_without_a_mixer_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left: str | None
) -> None:
    """No Mixer, or one that was killed and left its note: one line that says how to start it."""
    if left is not None:
        (tmp_path / "run.json").write_text(left)
    ask(tmp_path, "racks", "list", code=1)
    assert f"error: no Mixer runs on {tmp_path}; start it with `mixer up`" in capsys.readouterr().err
