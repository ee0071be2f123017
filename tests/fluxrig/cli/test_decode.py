"""`fluxrig decode`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from fluxrig import cbor
from fluxrig.cli.bench.codec import telemetry
from fluxrig.cli.decode import MAX_INPUT, decode
from fluxrig.codec import encode
from fluxrig.errors import FluxrigError
from fluxrig.message import FluxMsg

app = typer.Typer()
app.command()(decode)

MESSAGE = FluxMsg(
    id=bytes(range(16)),
    ts=1_763_713_267_123_456_789,
    src="r/g",
    uns="a/b",
    schema="x/1",
    data={"a": [1.5, None, float("nan"), 1 << 70], "b": {1: b"\xff"}},
    ref=bytes(16),
)
NOTATION = (
    '{"id": h\'000102030405060708090a0b0c0d0e0f\', "ts": 1763713267123456789, '
    '"ref": h\'00000000000000000000000000000000\', "src": "r/g", "uns": "a/b", '
    '"data": {"a": [1.5, null, NaN, 1180591620717411303424], "b": {1: h\'ff\'}}, "schema": "x/1"}\n'
)


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def refused(*arguments: str, stdin: bytes = b"") -> tuple[str, str]:
    """Give what was printed and the error that the console makes a line and exit code 1 of."""
    result = run(*arguments, stdin=stdin)
    assert isinstance(result.exception, FluxrigError)
    return result.stdout, str(result.exception)


def test_hex_is_shown_in_diagnostic_notation() -> None:
    """Hex digits on the command line are shown, also with spaces, 0x and in upper case."""
    digits = encode(MESSAGE).hex()
    for form in (digits, f"0x{digits}", digits.upper(), f" {digits[:6]} {digits[6:]}\n"):
        assert run(form).stdout == NOTATION


def test_a_file_and_standard_input_hold_a_sequence(tmp_path: Path) -> None:
    """A file or `-` may hold many messages, each shown on a line; nothing is nothing."""
    data = encode(MESSAGE) * 3
    (tmp_path / "three.cbor").write_bytes(data)
    assert run(str(tmp_path / "three.cbor")).stdout == run("-", stdin=data).stdout == NOTATION * 3
    assert run(stdin=data).stdout == NOTATION * 3
    assert run("-").stdout == ""


def test_standard_input_may_hold_hex_digits() -> None:
    """With --hex, what is piped in is hex, over several lines if need be."""
    digits = encode(MESSAGE).hex()
    assert run("-", "--hex", stdin=f"{digits[:10]}\n{digits[10:]}\n".encode()).stdout == NOTATION
    assert refused("-", "--hex", stdin=b"xyz")[1] == "standard input: not hex digits"


def test_json_is_one_object_a_line() -> None:
    """--json gives what programs read: ids as UUIDs, bytes as hex, and text where JSON has no number."""
    lines = run("--json", "-", stdin=encode(MESSAGE) + encode(telemetry(1))).stdout.splitlines()
    first, second = map(json.loads, lines)
    assert first == {
        "id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "ts": 1763713267123456789,
        "ref": "00000000-0000-0000-0000-000000000000",
        "src": "r/g",
        "uns": "a/b",
        "data": {"a": [1.5, None, "NaN", "1180591620717411303424"], "b": {"1": "ff"}},
        "schema": "x/1",
    }
    assert second["data"]["running"] is True


def test_what_came_before_a_fault_is_shown(tmp_path: Path) -> None:
    """A broken file shows its whole messages, then one line with the file, the reason and the offset."""
    file = tmp_path / "broken.cbor"
    file.write_bytes(encode(MESSAGE) * 2 + b"\x9f")
    offset = 2 * len(encode(MESSAGE))
    assert refused(str(file)) == (NOTATION * 2, f"{file}: array of indefinite length at offset {offset}")


def test_what_is_no_message_needs_any() -> None:
    """Other CBOR is refused as a message, and shown with --any, strictly decoded too."""
    assert refused("83010203")[1] == "hex: not a message: list instead of a map at offset 0"
    assert run("--any", "83010203f7c1006161").stdout == '[1, 2, 3]\nundefined\n1(0)\n"a"\n'
    assert run("--any", "--json", "f7c10083010261c3bc".replace("61c3bc", "62c3bc")).stdout == (
        '"undefined"\n"1(0)"\n[1, 2, "ü"]\n'
    )
    assert refused("--any", "1817")[1] == "hex: unsigned integer whose head is longer than needed at offset 0"


@pytest.mark.parametrize("wrong", ["no-such-file.cbor", "123", "xyz"])
def test_what_is_neither_file_nor_hex_is_said(wrong: str) -> None:
    """A name that is no file and no hex gives one clear line."""
    assert refused(wrong)[1] == f"{wrong!r} is neither a file nor hex digits"


def test_input_is_bounded(tmp_path: Path) -> None:
    """A file that is too large is refused instead of filling the memory."""
    file = tmp_path / "huge"
    with file.open("wb") as sparse:
        sparse.truncate(MAX_INPUT + 1)
    assert refused(str(file))[1] == f"{file}: more than 64 MiB; decode it in parts"


def test_text_can_not_play_tricks_on_the_terminal() -> None:
    """Escape sequences inside of messages are shown, not sent."""
    value: Any = ["\x1b[2J\x9b2J\u202e"]
    for arguments in (["--any"], ["--any", "--json"]):
        assert run(*arguments, cbor.encode(value).hex()).stdout.strip().isprintable()
