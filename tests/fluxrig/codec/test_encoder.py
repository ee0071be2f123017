"""Messages to bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import IntFlag, StrEnum
from types import MappingProxyType
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings

from fluxrig import cbor
from fluxrig.codec import CONTENT_TYPE, encode, encode_sequence
from fluxrig.errors import EncodeError
from fluxrig.message import FluxMsg
from tests.fluxrig.cbor.strategies import messages

PLAIN: dict[str, Any] = {
    "id": bytes(16),
    "ts": 1 << 60,
    "src": "r/g",
    "uns": "a/b",
    "schema": "fluxrig.tags/1",
}


class Bits(IntFlag):
    REPLAYED = 1


class Unit(StrEnum):
    BAR = "bar"


@settings(max_examples=300)
@given(messages)
def test_equals_cbor2_canonical(message: FluxMsg) -> None:
    """Every message is encoded byte for byte as cbor2's canonical mode does."""
    assert encode(message) == cbor2.dumps(message.fields, canonical=True)


@given(messages)
def test_the_order_of_fields_does_not_matter(message: FluxMsg) -> None:
    """The same message is the same bytes, however its maps were filled."""
    names = list(message.fields)
    random.Random(7).shuffle(names)
    shuffled = {name: message.fields[name] for name in names}
    for name in {"data", "meta"} & set(names):
        shuffled[name] = dict(reversed(list(shuffled[name].items())))
    assert encode(FluxMsg.from_fields(shuffled)) == encode(message)


def test_a_sequence_is_the_messages_one_after_another() -> None:
    """A batch is a CBOR sequence (RFC 8742): no frame, no count; an empty one is no bytes."""
    batch = [FluxMsg(**PLAIN), FluxMsg(**PLAIN, data={"a": 1})]
    assert encode_sequence(batch) == encode(batch[0]) + encode(batch[1])
    assert encode_sequence([]) == b""
    assert CONTENT_TYPE == "application/cbor-seq"


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({"path": (("r/g", 5), ["r/h", 1 << 60])}, {"path": [["r/g", 5], ["r/h", 1 << 60]]}),
        ({"flags": Bits.REPLAYED}, {"flags": 1}),
        ({"meta": {"unit": Unit.BAR}}, {"meta": {"unit": "bar"}}),
        ({"data": MappingProxyType({"a": 1})}, {"data": {"a": 1}}),
        ({"data": {"a": {1: 2}}}, {"data": {"a": {1: 2}}}),
        ({"data": {"a": cbor2.CBORTag(1, 2)}}, {"data": {"a": cbor2.CBORTag(1, 2)}}),
        ({"ts": 0}, {"ts": 0}),
        ({"ts": (1 << 64) - 1}, {"ts": (1 << 64) - 1}),
        ({"flags": (1 << 64) - 1}, {"flags": (1 << 64) - 1}),
    ],
)
def test_unusual_messages_are_encoded_too(changes: dict[str, Any], plain: dict[str, Any]) -> None:
    """Tuples, enums, other mappings and extreme numbers take the detour to the same encoding."""
    message = FluxMsg.from_fields({**PLAIN, **changes})
    assert encode(message) == cbor2.dumps({**PLAIN, **plain}, canonical=True)


def leave_out(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda fields: fields.__delitem__(name)


def put(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda fields: fields.update(values)


FAULTS = [
    (leave_out("id"), "field 'id' is missing"),
    (leave_out("schema"), "field 'schema' is missing"),
    (put(unit="bar"), "unknown field 'unit'"),
    (put(id="x" * 16), "id: must be 16 bytes, not str"),
    (put(id=bytes(15)), "id: must be 16 bytes, not 15"),
    (put(id=bytearray(16)), "id: must be 16 bytes, not bytearray"),
    (put(ts=-1), "ts: must be an unsigned 64-bit integer, not -1"),
    (put(ts=1 << 64), "ts: must be an unsigned 64-bit integer, not 18446744073709551616"),
    (put(ts=True), "ts: must be an unsigned 64-bit integer, not True"),
    (put(ts=1e18), "ts: must be an unsigned 64-bit integer, not 1e+18"),
    (put(ts=None), "ts: must be an unsigned 64-bit integer, not None"),
    (put(src=b"r/g"), "src: must be text, not bytes"),
    (put(uns=None), "uns: must be text, not null"),
    (put(schema=1), "schema: must be text, not int"),
    (put(data=["a", "b"]), "data: must be a map, not list"),
    (put(data=["a"]), "data: must be a map, not list"),
    (put(data="ab"), "data: must be a map, not str"),
    (put(data={1: 2}), "data: has the key 1, which is not text"),
    (put(data={}), "data: is at its default, which has to be left out"),
    (put(data=None), "data: must be a map, not null"),
    (put(data={"pressure": {"raw": 1j}}), "data.pressure.raw: builtins.complex has no place in a message"),
    (put(meta={"unit": 1}), "meta: 'unit' must be text, not int"),
    (put(meta={1: "bar"}), "meta: has the key 1, which is not text"),
    (put(meta={}), "meta: is at its default, which has to be left out"),
    (put(meta=[("a", "b")]), "meta: must be a map, not list"),
    (put(raw="00"), "raw: must be bytes, not str"),
    (put(raw=b""), "raw: is at its default, which has to be left out"),
    (put(ref=bytes(15)), "ref: must be 16 bytes, not 15"),
    (put(trace=bytes(16)), "trace: must be 24 bytes, not 16"),
    (put(trace="x" * 24), "trace: must be 24 bytes, not str"),
    (put(path=[]), "path: is at its default, which has to be left out"),
    (put(path="ab"), "path: must be an array, not str"),
    (put(path={("r/g", 1 << 60): 0}), "path: must be an array, not dict"),
    (put(path=[["r/g", "x"]]), 'path: must hold hops ["<rack>/<gear>", ns]'),
    (put(path=[["r/g", 1 << 60, 3]]), 'path: must hold hops ["<rack>/<gear>", ns]'),
    (put(path=[{"r/g": 0, 1 << 60: 0}]), 'path: must hold hops ["<rack>/<gear>", ns]'),
    (put(path=[["r/g", 1 << 64]]), 'path: must hold hops ["<rack>/<gear>", ns]'),
    (put(flags=0), "flags: is at its default, which has to be left out"),
    (put(flags=-1), "flags: must be an unsigned 64-bit integer, not -1"),
    (put(flags=True), "flags: must be an unsigned 64-bit integer, not True"),
    (put(flags=1 << 64), "flags: must be an unsigned 64-bit integer, not 18446744073709551616"),
    (put(src="\ud800"), "src: text with half a surrogate pair at character 0"),
]


@pytest.mark.parametrize(("change", "complaint"), FAULTS)
def test_what_is_no_message_is_refused(change: Callable[[dict[str, Any]], None], complaint: str) -> None:
    """Fields that `fluxmsg.cddl` does not allow have no encoding, and the error names the field."""
    fields = {**PLAIN, "data": {"a": 1}, "flags": 1}
    change(fields)
    with pytest.raises(EncodeError) as caught:
        encode(FluxMsg.from_fields(fields))
    assert str(caught.value) == complaint


def test_a_message_that_could_not_travel_is_refused() -> None:
    """A message beyond the bound on size is refused where it is made, not lost on the way."""
    with pytest.raises(EncodeError, match=f"more than the {cbor.MAX_SIZE} allowed"):
        encode(FluxMsg(**PLAIN, raw=bytes(cbor.MAX_SIZE)))


def test_nesting_is_bounded_in_messages_too() -> None:
    """The straight line and the detour agree on how deep a message may be."""
    deepest: Any = 0
    for _ in range(cbor.MAX_DEPTH - 2):
        deepest = [deepest]
    assert cbor.decode_strict(encode(FluxMsg(**PLAIN, data={"a": deepest})))["data"] == {"a": deepest}
    with pytest.raises(EncodeError, match="nested more than"):
        encode(FluxMsg(**PLAIN, data={"a": [deepest]}))
