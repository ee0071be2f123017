"""Bytes to messages.

cbor2 does the reading. Strict decoding proves its result by encoding it again and comparing: equal bytes are
the deterministic bytes of a well-shaped message. Only where they differ does the careful decoder in plain
Python look, which finds the fault and its offset, or accepts what cbor2 is kept from (tags, keys that are
not text).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

import cbor2

from fluxrig import cbor
from fluxrig.codec import shape
from fluxrig.codec.encoder import STUMBLES, encode_usual
from fluxrig.errors import DecodeError
from fluxrig.message import FluxMsg


def decode(data: bytes) -> FluxMsg:
    """Decode one message from trusted bytes; only that it is a map is checked.

    Bytes with tags are the exception: they go to the careful decoder, so they have to be deterministic.
    """
    try:
        fields = cbor2.loads(data, semantic_decoders=_NO_TAGS)
    except cbor2.CBORDecodeError:
        fields = cbor.decode_strict(data)
    if type(fields) is not dict:
        raise DecodeError(f"not a message: {type(fields).__name__} instead of a map", 0)
    message = _new(FluxMsg)
    message.fields = fields
    return message


def decode_sequence(data: bytes) -> list[FluxMsg]:
    """Decode a CBOR sequence (RFC 8742) from trusted bytes, as `decode` does."""
    with suppress(cbor2.CBORDecodeError):
        items = _items(data)
        if all(type(item) is dict for item in items):
            return list(map(FluxMsg.from_fields, items))
    return [message for message, _ in iterate_strict(data)]


def decode_strict(data: bytes) -> FluxMsg:
    """Decode exactly one message, and refuse whatever `encode` would not have made of it."""
    try:
        fields = cbor2.loads(data, semantic_decoders=_NO_TAGS, strict_hashable_types=True)
        if encode_usual(fields) == data and len(data) <= cbor.MAX_SIZE:
            message = _new(FluxMsg)
            message.fields = fields
            return message
    except (cbor2.CBORDecodeError, *STUMBLES):
        pass
    message, end = _judge(data, 0)
    if end < len(data):
        raise DecodeError(f"{len(data) - end} bytes after the end of the message", end)
    return message


def decode_sequence_strict(data: bytes) -> list[tuple[FluxMsg, bytes]]:
    """Decode a CBOR sequence as `decode_strict` does, and give each message with its own bytes."""
    try:
        items = _items(data, strict_hashable_types=True)
        encoded = list(map(encode_usual, items))
    except (cbor2.CBORDecodeError, *STUMBLES):
        return list(iterate_strict(data))
    if b"".join(encoded) != data or max(map(len, encoded), default=0) > cbor.MAX_SIZE:
        return list(iterate_strict(data))
    return list(zip(map(FluxMsg.from_fields, items), encoded, strict=True))


def iterate_strict(data: bytes) -> Iterator[tuple[FluxMsg, bytes]]:
    """Give the messages of a sequence one by one: those before a fault are had before it is raised."""
    offset = 0
    while offset < len(data):
        message, end = _judge(data, offset)
        yield message, data[offset:end]
        offset = end


def _items(data: bytes, *, strict_hashable_types: bool = False) -> list[Any]:
    """Read a whole sequence in one go, by making an array of it."""
    stream = io.BytesIO(b"\x9f" + data + b"\xff")
    decoder = cbor2.CBORDecoder(
        stream, semantic_decoders=_NO_TAGS, strict_hashable_types=strict_hashable_types
    )
    items: list[Any] = decoder.decode()
    if stream.tell() != len(data) + 2:
        raise cbor2.CBORDecodeError("a break among the items")
    return items


def _judge(data: bytes, offset: int) -> tuple[FluxMsg, int]:
    """Decode the message at `offset` with all care; give it and the offset behind it."""
    value, end = cbor.decode_next(data, offset)
    if wrong := shape.fault(value):
        name, reason = wrong
        text = f"{name} {reason}" if name else f"not a message: {reason}"
        raise DecodeError(text, offset + _distance(value, name))
    return FluxMsg.from_fields(value), end


def _distance(value: Any, name: str) -> int:
    """Count the bytes from the start of a deterministic map to the value of one field."""
    if not name:
        return 0
    names = list(value)
    before = {key: value[key] for key in names[: names.index(name)]}
    return len(cbor.encode(before)) + len(cbor.encode(name))


class _NoTags(dict[int, Any]):
    """Keeps cbor2 from making datetimes, sets and shared references: every tag is left to the judge."""

    def __missing__(self, tag: int) -> Any:
        return _leave


def _leave(*_: object) -> NoReturn:
    raise ValueError("a tag")


_NO_TAGS: Final = _NoTags()
_new: Final = FluxMsg.__new__
