"""Bytes to messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxrig import cbor, codec
from fluxrig.errors import DecodeError
from fluxrig.message import FluxMsg
from tests.fluxrig.cbor.strategies import form, messages, mutated

PLAIN: dict[str, Any] = {
    "id": bytes(16),
    "ts": 1 << 60,
    "src": "r/g",
    "uns": "a/b",
    "schema": "fluxrig.tags/1",
}


def outcome(decode: Callable[[bytes], Any], data: bytes) -> tuple[Any, ...]:
    """Give what decoding came to: values in comparable form, or the reason and offset."""
    try:
        result = decode(data)
    except DecodeError as error:
        assert_within(error.offset, data)
        return error.reason, error.offset
    return tuple((form(message.fields), bytes_) for message, bytes_ in result)


def assert_within(offset: int, data: bytes) -> None:
    assert 0 <= offset <= len(data)


@given(messages)
def test_every_decoder_gives_back_the_message(message: FluxMsg) -> None:
    """decode(encode(m)) = m, strict or not, alone or in a sequence."""
    data = codec.encode(message)
    expected = form(message.fields)
    assert form(codec.decode(data).fields) == expected
    assert form(codec.decode_strict(data).fields) == expected
    assert [form(item.fields) for item in codec.decode_sequence(data + data)] == [expected] * 2
    strict = codec.decode_sequence_strict(data + data)
    assert [(form(item.fields), own) for item, own in strict] == [(expected, data)] * 2


@settings(max_examples=300)
@given(messages, st.integers(0, 1 << 32))
def test_strict_accepts_only_what_encode_makes(message: FluxMsg, seed: int) -> None:
    """Changed bytes are refused, or they are what `encode` makes of the result."""
    data = mutated(codec.encode(message), seed)
    try:
        accepted = codec.decode_strict(data)
    except DecodeError as error:
        assert_within(error.offset, data)
    else:
        assert codec.encode(accepted) == data


@settings(max_examples=150)
@given(st.lists(messages, max_size=3), st.integers(0, 1 << 32))
def test_the_fast_way_and_the_careful_way_agree(batch: list[FluxMsg], seed: int) -> None:
    """Whatever bytes come, decoding at rate has the result of the careful decoder, refusals included."""
    data = codec.encode_sequence(batch)
    for candidate in (data, mutated(data, seed)):
        fast = outcome(codec.decode_sequence_strict, candidate)
        assert fast == outcome(lambda data: list(codec.iterate_strict(data)), candidate)


@pytest.mark.parametrize(
    "value",
    [
        cbor2.CBORTag(1, 0),
        cbor2.CBORTag(258, [1]),
        cbor2.CBORTag(28, 1),
        1 << 70,
        {1: {2: 3}},
        {b"a": [cbor2.undefined]},
    ],
)
def test_tags_stay_tags(value: Any) -> None:
    """Dates, sets and shared references are never made: what was a tag in the bytes is a CBORTag."""
    data = codec.encode(FluxMsg(**PLAIN, data={"a": value}))
    assert form(codec.decode(data).data["a"]) == form(value)
    assert form(codec.decode_sequence(data)[0].data["a"]) == form(value)
    assert form(codec.decode_strict(data).data["a"]) == form(value)
    assert form(codec.decode_sequence_strict(data)[0][0].data["a"]) == form(value)


def test_shared_references_do_not_multiply() -> None:
    """Tags 28 and 29 that would stand for 2^30 values are left as tags."""
    value: Any = cbor2.CBORTag(28, [0, 0])
    for index in range(12):
        value = cbor2.CBORTag(28, [value, cbor2.CBORTag(29, index)])
    data = codec.encode(FluxMsg(**PLAIN, data={"a": value}))
    assert form(codec.decode_strict(data).data["a"]) == form(value)


def changed(**changes: Any) -> bytes:
    fields = {**PLAIN, "data": {"a": 1}, **changes}
    return cbor.encode({name: value for name, value in fields.items() if value is not ...})


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (changed(uns=...), "not a message: field 'uns' is missing", 0),
        (changed(unit="bar"), "not a message: unknown field 'unit'", 0),
        (changed(id=bytes(15)), "id must be 16 bytes, not 15", 4),
        (changed(ts=1.5), "ts must be an unsigned 64-bit integer, not 1.5", 24),
        (changed(ts=1 << 64), "ts must be an unsigned 64-bit integer, not 18446744073709551616", 24),
        (changed(data={}), "data is at its default, which has to be left out", 54),
        (changed(schema=None), "schema must be text, not null", 65),
        (b"\x83\x01\x02\x03", "not a message: list instead of a map", 0),
        (changed() + b"\0", "1 bytes after the end of the message", len(changed())),
        (b"", "item cut short: at least 1 bytes wanted, 0 left", 0),
        (cbor2.dumps(dict(reversed(PLAIN.items()))), "map keys that are not in order: 'uns'", 23),
    ],
)
def test_strict_decoding_names_field_and_offset(data: bytes, reason: str, offset: int) -> None:
    """Bytes that are deterministic but no message are refused, at the value that is wrong."""
    with pytest.raises(DecodeError) as caught:
        codec.decode_strict(data)
    assert (caught.value.reason, caught.value.offset) == (reason, offset)


def test_messages_before_a_fault_are_had() -> None:
    """Going through a sequence gives every whole message, then the fault with its offset in the whole."""
    data = changed()
    messages = codec.iterate_strict(data + data + b"\xff")
    assert [next(messages)[1], next(messages)[1]] == [data, data]
    with pytest.raises(DecodeError, match=f"at offset {2 * len(data)}"):
        next(messages)


@pytest.mark.parametrize("tail", [b"\xff", b"\xff" + changed(), b"\x1b", changed()[:-1], b"\0"])
def test_a_broken_sequence_is_never_cut_silently(tail: bytes) -> None:
    """A stray break, a cut message or another item is an error, not the end of the sequence."""
    for decode in (codec.decode_sequence, codec.decode_sequence_strict):
        with pytest.raises(DecodeError) as caught:
            decode(changed() + tail)
        assert caught.value.offset >= len(changed())


def test_plain_decoding_takes_what_others_encoded() -> None:
    """Trusted bytes need not be deterministic: field order and wide numbers are taken as they are."""
    data = cbor2.dumps(dict(reversed(PLAIN.items())))
    assert codec.decode(data).fields == codec.decode_sequence(data)[0].fields == PLAIN


@pytest.mark.parametrize("data", [b"\x01", b"\x80", b"\xf6", b"\xff", b""])
def test_plain_decoding_refuses_what_is_no_map(data: bytes) -> None:
    """Even trusted bytes have to hold a message."""
    with pytest.raises(DecodeError):
        codec.decode(data)
