"""Messages as text."""

import json

from fluxrig.message import FluxMsg
from gears.stdout.render import to_diagnostic, to_hex, to_json

MESSAGE = FluxMsg(
    id=bytes(range(16)),
    ts=1,
    src="r/g",
    uns="acme",
    schema="fluxrig.tags/1",
    data={"t": 1.5, "on": True, "none": None, "raw": b"\x01\x02", "text": "é\n"},
    ref=bytes(16),
)


def test_json_is_one_line_that_parses():
    """ids are UUIDs, bytes are hex, a line end in a text does not break the line."""
    line = to_json(MESSAGE)
    assert "\n" not in line
    read = json.loads(line)
    assert read["id"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert read["ref"] == "00000000-0000-0000-0000-000000000000"
    assert read["data"] == {"t": 1.5, "on": True, "none": None, "raw": "0102", "text": "é\n"}


def test_json_has_no_nan():
    """NaN and the infinities are text, since JSON has no word for them."""
    odd = MESSAGE.replace(data={"a": float("nan"), "b": [float("inf"), -float("inf")]})
    assert json.loads(to_json(odd), parse_constant=lambda word: 1 / 0)["data"] == {
        "a": "NaN",
        "b": ["Infinity", "-Infinity"],
    }


def test_json_takes_any_key():
    """A map inside a field may have keys that are no text; they are written in diagnostic notation."""
    odd = MESSAGE.replace(data={"map": {b"\x01": 1, 2: 3, None: 4}})
    assert json.loads(to_json(odd))["data"]["map"] == {"h'01'": 1, "2": 3, "null": 4}


def test_diagnostic_shows_types():
    """Bytes, null, booleans and floats are told apart as in RFC 8949 §8."""
    text = to_diagnostic(MESSAGE)
    assert '"data": {"t": 1.5, "on": true, "none": null, "raw": h\'0102\'' in text


def test_hex_is_the_encoding():
    """Hex is what the codec makes."""
    from fluxrig.codec import decode

    assert decode(bytes.fromhex(to_hex(MESSAGE))) == MESSAGE
