"""`fluxmsg.cddl` and the codec say the same of what a message is."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import cbor2
import pycddl  # type: ignore[import-untyped]
import pytest
from hypothesis import given

from fluxrig import codec
from fluxrig.cli.bench.codec import telemetry
from fluxrig.errors import DecodeError
from fluxrig.message import OPTIONAL, REQUIRED, FluxMsg
from tests.fluxrig.cbor.strategies import messages

CDDL = files("fluxrig").joinpath("fluxmsg.cddl").read_text()
SCHEMA = pycddl.Schema(CDDL)

WRONG: dict[str, list[Any]] = {
    "id": [b"", bytes(15), bytes(17), None, 1],
    "ts": [-1, 1.5, "1", None, True],
    "src": [b"r/g", None, 1, []],
    "uns": [b"a/b", None, 1, {}],
    "schema": [b"s", None, 1.0],
    "data": [{}, [], None, "a", {1: 2}, {"a": 1, b"b": 2}],
    "meta": [{}, [], None, {"a": 1}, {"a": None}, {1: "a"}],
    "raw": [b"", "", None],
    "ref": [b"", bytes(15), None],
    "trace": [bytes(16), bytes(25), None],
    "path": [[], {}, [[]], [["a"]], [["a", -1]], [["a", 1, 2]], [[1, "a"]], ["a", 1], None],
    "flags": [0, -1, None, 1.5, "1"],
}

NOT_SEEN_BY_PYCDDL: list[tuple[str, Any]] = [
    ("id", "x" * 16),  # it takes text of the right size for bytes
    ("raw", "a"),
    ("raw", 1),
    ("ref", "x" * 16),
    ("ts", 1 << 64),  # it takes a bignum for a uint
    ("path", [["a", 1], ["b", "c"]]),  # it looks at the first element of [+ hop]
]


@given(messages)
def test_every_message_is_valid(message: FluxMsg) -> None:
    """What `encode` makes is what the schema describes."""
    SCHEMA.validate_cbor(codec.encode(message))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, bad in WRONG.items() for value in bad])
def test_both_refuse_a_wrong_field(name: str, value: Any) -> None:
    """A field of the wrong type, size or form is refused by the schema and by strict decoding alike."""
    data = cbor2.dumps({**telemetry(1).fields, name: value}, canonical=True)
    with pytest.raises(pycddl.ValidationError):
        SCHEMA.validate_cbor(data)
    with pytest.raises(DecodeError):
        codec.decode_strict(data)


@pytest.mark.parametrize(("name", "value"), NOT_SEEN_BY_PYCDDL)
def test_the_codec_is_as_strict_as_the_schema_reads(name: str, value: Any) -> None:
    """What the schema forbids but its validator lets pass is refused by strict decoding all the same."""
    with pytest.raises(DecodeError, match=name):
        codec.decode_strict(cbor2.dumps({**telemetry(1).fields, name: value}, canonical=True))


@pytest.mark.parametrize("name", [*REQUIRED, *OPTIONAL, "more"])
def test_both_agree_on_which_fields_there_are(name: str) -> None:
    """Leaving out a field is refused if it is required, and only then; one more is refused."""
    fields = {**telemetry(1).fields, "raw": b"1", "ref": bytes(16)}
    changed = {**fields, name: 1} if name == "more" else {key: fields[key] for key in fields if key != name}
    data = cbor2.dumps(changed, canonical=True)
    if name in OPTIONAL:
        SCHEMA.validate_cbor(data)
        codec.decode_strict(data)
        return
    with pytest.raises(pycddl.ValidationError):
        SCHEMA.validate_cbor(data)
    with pytest.raises(DecodeError, match=name):
        codec.decode_strict(data)
