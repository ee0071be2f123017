"""`fluxrig bench codec` measures what it says it measures."""

from __future__ import annotations

import json

import cbor2
import typer
from typer.testing import CliRunner

from fluxrig.cli import bench
from fluxrig.cli.bench.codec import MESSAGES, telemetry
from fluxrig.codec import decode_strict, encode

app = typer.Typer()
app.add_typer(bench.app, name="bench")

NAMES = {
    "encode_msgs_per_s",
    "decode_msgs_per_s",
    "strict_decode_msgs_per_s",
    "cbor2_canonical_msgs_per_s",
    "cbor2_decode_msgs_per_s",
}


def test_the_message_is_the_one_that_is_promised() -> None:
    """Every message of the benchmark has ten fields and three tags, takes 236 bytes, and is another."""
    messages = [telemetry(number) for number in range(MESSAGES)]
    for message in messages:
        data = encode(message)
        assert (len(message.fields), len(message.data), len(data)) == (10, 3, 236)
        assert data == cbor2.dumps(message.fields, canonical=True)
        assert decode_strict(data) == message
    assert len({message.id for message in messages}) == MESSAGES
    assert len({message.data["pressure"] for message in messages}) == MESSAGES


def test_json_has_the_figures() -> None:
    """--json gives one object with a whole number for each contender."""
    result = CliRunner().invoke(app, ["bench", "codec", "--json", "--seconds", "0.05"])
    figures = json.loads(result.stdout)
    assert set(figures) == NAMES
    assert all(isinstance(figure, int) and figure > 0 for figure in figures.values())


def test_the_table_names_every_contender() -> None:
    """Without --json there is one line for each contender, in messages a second."""
    lines = CliRunner().invoke(app, ["bench", "codec", "--seconds", "0.05"]).stdout.splitlines()
    assert lines[0].startswith("messages of 236 bytes")
    assert [line.split("  ")[1] for line in lines[1:]] == [
        "encode",
        "decode",
        "strict decode",
        "cbor2 encode, canonical",
        "cbor2 decode",
    ]
    assert all(line.endswith("messages/s") for line in lines[1:])
