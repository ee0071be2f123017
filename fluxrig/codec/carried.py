"""Messages that are bytes already, and stay so until somebody looks into them.

Most go to the uplink or into another process, which want bytes alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fluxrig.codec import encoder
from fluxrig.codec.decoder import decode
from fluxrig.message import FluxMsg

_MAX_TINY: Final = 23
"""The largest number that CBOR says in its first byte (RFC 8949 §3)."""
_FLAGS: Final = b"\x65flags"
_TRACE: Final = b"\x65trace"
_SCHEMA: Final = b"\x66schema"
_MAX_BEFORE_SCHEMA: Final = 32
"""Bytes of `trace` and its value; those of `flags` are fewer."""


class Carried(FluxMsg):
    """A message as it was encoded, and its UNS path beside it."""

    __slots__ = ("encoded", "uns")

    encoded: bytes
    uns: str

    def __init__(self, encoded: bytes, uns: str) -> None:
        self.encoded = encoded
        self.uns = uns

    def __getattr__(self, name: str) -> Any:
        """Decode when `fields` is first asked for; Python asks here for what is not set."""
        if name != "fields":
            raise AttributeError(name)
        self.fields = decode(self.encoded).fields
        return self.fields


def encode(message: FluxMsg) -> bytes:
    """Encode a message, or give the bytes that it is; EncodeError names the field that has no encoding."""
    return message.encoded if type(message) is Carried else encoder.encode(message)


def encode_flagged(message: FluxMsg, flags: int) -> bytes:
    """Encode a message with more bits of `flags` set; one that is bytes mostly stays so."""
    if type(message) is Carried and flags <= _MAX_TINY and (at := _place_of_flags(message.encoded)):
        data = message.encoded
        return b"".join((bytes((data[0] + 1,)), data[1:at], _FLAGS, bytes((flags,)), data[at:]))
    return encoder.encode(FluxMsg.from_fields({**message.fields, "flags": message.flags | flags}))


def _place_of_flags(data: bytes) -> int:
    """Give where `flags` goes in a message without it: before `schema`, the last key. 0: that is unclear."""
    at = data.find(_SCHEMA)
    if data.find(_SCHEMA, at + 1) >= 0:
        return 0
    before = data[max(0, at - _MAX_BEFORE_SCHEMA) : at]
    return 0 if _FLAGS in before or _TRACE in before else at


def encode_sequence(batch: Iterable[FluxMsg]) -> bytes:
    """Encode messages as a CBOR sequence (RFC 8742): one after another."""
    return b"".join(map(encode, batch))
