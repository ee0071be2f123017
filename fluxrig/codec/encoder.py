"""Messages to bytes: one straight line for the usual message, a checked detour for all others.

The straight line takes for granted what gears make: exact types, times after 1970 plus four seconds. Whatever
else comes makes it stumble, and the detour either encodes it or says what is wrong.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from fluxrig import cbor
from fluxrig.cbor.cache import MAX_TEXT_SIZE, MAX_TEXTS, Texts
from fluxrig.cbor.encoder import ENCODERS, SHAPES, encode_item
from fluxrig.cbor.head import head
from fluxrig.cbor.limits import MAX_DEPTH, MAX_SIZE
from fluxrig.codec import shape
from fluxrig.errors import EncodeError
from fluxrig.message import OPTIONAL, REQUIRED, FluxMsg

STUMBLES: Final = (EncodeError, TypeError, LookupError, ValueError, AttributeError, struct.error)
_ROOM: Final = MAX_DEPTH - 2
"""Levels left inside a value of `data`: the message and `data` itself are two."""

# The fields in the order of their encoding (shorter names first), each with the head of its value where that
# is always the same.
_ID: Final = tuple(head(5, size) + b"\x62id\x50" for size in range(len(REQUIRED + OPTIONAL) + 1))
_TS: Final = struct.Struct(">4sQ").pack
_RAW: Final = b"\x63raw"
_REF: Final = b"\x63ref\x50"
_SRC: Final = Texts(b"\x63src")
_UNS: Final = Texts(b"\x63uns")
_DATA: Final = b"\x64data"
_META: Final = b"\x64meta"
_PATH: Final = tuple(b"\x64path" + head(4, size) for size in range(24))
_FLAGS: Final = {bits: b"\x65flags" + head(0, bits) for bits in range(1, 256)}
_TRACE: Final = b"\x65trace\x58\x18"
_SCHEMA: Final = Texts(b"\x66schema")
_HOP: Final = Texts(b"\x82")
_ARRAYS: Final = frozenset({list, tuple})
_U64: Final = struct.Struct(">BQ").pack


def encode(message: FluxMsg) -> bytes:
    """Encode a message; EncodeError names the field that has no encoding."""
    fields = message.fields
    try:
        data = encode_usual(fields)
    except STUMBLES:
        return encode_checked(fields)
    return data if len(data) <= MAX_SIZE else encode_checked(fields)


def encode_checked(fields: object) -> bytes:
    """Encode any fields that have the shape of a message."""
    if wrong := shape.fault(fields):
        raise EncodeError(": ".join(filter(None, wrong)))
    return cbor.encode(fields)


def encode_usual(fields: dict[str, Any]) -> bytes:
    """Encode a message as gears make them; one of STUMBLES says that the detour has to look."""
    ident, ts = fields["id"], fields["ts"]
    if type(ident) is not bytes or len(ident) != 16 or not ts >> 32:
        raise ValueError
    parts = [_ID[len(fields)], ident, _TS(b"\x62ts\x1b", ts)]
    known = 5
    if "raw" in fields:
        known += 1
        parts += _RAW, _bytes(fields["raw"])
    if "ref" in fields:
        known += 1
        parts += _REF, _ref(fields["ref"])
    parts += _SRC[fields["src"]], _UNS[fields["uns"]]
    if "data" in fields:
        known += 1
        parts.append(_DATA)
        parts += _data(fields["data"])
    if "meta" in fields:
        known += 1
        parts.append(_METAS[tuple(fields["meta"].items())])
    if "path" in fields:
        known += 1
        parts += _path(fields["path"])
    if "flags" in fields:
        known += 1
        flags = fields["flags"]
        if type(flags) is not int:
            raise ValueError
        parts.append(_FLAGS[flags])
    if "trace" in fields:
        known += 1
        trace = fields["trace"]
        if type(trace) is not bytes or len(trace) != 24:
            raise ValueError
        parts += _TRACE, trace
    if known != len(fields):
        raise ValueError
    parts.append(_SCHEMA[fields["schema"]])
    return b"".join(parts)


def _ref(value: bytes) -> bytes:
    if type(value) is not bytes or len(value) != 16:
        raise ValueError
    return value


def _bytes(value: bytes) -> bytes:
    if type(value) is not bytes or not value:
        raise ValueError
    return head(2, len(value)) + value


def _data(data: dict[str, Any]) -> list[bytes]:
    """Encode a map with text keys and at least one entry."""
    known = SHAPES[tuple(data)]
    if not data or known is None:
        raise ValueError
    template, values = known
    parts = template.copy()
    parts[1::2] = [ENCODERS[type(value)](value, _ROOM) for value in values(data)]
    return parts


def _path(path: list[list[Any]]) -> list[bytes]:
    if not path or type(path) not in _ARRAYS:
        raise ValueError
    parts = [_PATH[len(path)]]
    for hop in path:
        source, ns = hop
        if not ns >> 32 or type(hop) not in _ARRAYS:
            raise ValueError
        parts += _HOP[source], _U64(0x1B, ns)
    return parts


class _Metas(dict[tuple[tuple[str, str], ...], bytes]):
    """The field `meta` by its entries as they come: units and qualities are the same for hours."""

    def __missing__(self, entries: tuple[tuple[str, str], ...]) -> bytes:
        if not entries or not all(type(text) is str for entry in entries for text in entry):
            raise ValueError
        encoded = _META + encode_item(dict(entries), 1)
        if len(encoded) <= 8 * MAX_TEXT_SIZE:
            if len(self) >= MAX_TEXTS // 8:
                self.clear()
            self[entries] = encoded
        return encoded


_METAS: Final = _Metas()
