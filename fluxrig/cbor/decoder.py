"""Bytes to values, in plain Python: the judge of what is deterministic.

Everything is checked before it is believed: a length is compared with the bytes that are there before
anything is allocated, so the cost of a hostile item is bounded by its own size.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from cbor2 import CBORSimpleValue, CBORTag, undefined

from fluxrig.cbor.encoder import ENCODERS
from fluxrig.cbor.limits import MAX_DEPTH, MAX_SIZE
from fluxrig.errors import DecodeError

_FLOATS: Final = {25: Struct(">e"), 26: Struct(">f"), 27: Struct(">d")}
_CONSTANTS: Final = {20: False, 21: True, 22: None, 23: undefined}
_KINDS: Final = (
    "unsigned integer",
    "negative integer",
    "byte string",
    "text string",
    "array",
    "map",
    "tag",
    "simple value",
)
_LEAST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""The smallest argument that needs the 1, 2, 4 or 8 bytes that each additional information announces."""


def decode_strict(data: bytes) -> Any:
    """Give the value of exactly one deterministic item; DecodeError names the offset of what is not."""
    value, end = decode_next(data, 0)
    if end < len(data):
        raise DecodeError(f"{len(data) - end} bytes after the end of the item", end)
    return value


def decode_next(data: bytes, offset: int) -> tuple[Any, int]:
    """Give the item of a CBOR sequence (RFC 8742) that starts at `offset`, and the offset behind it."""
    reader = _Reader(data, offset)
    return reader.item(MAX_DEPTH), reader.offset


class _Reader:
    """A position in bytes that moves forward one item at a time."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.offset = offset
        self._data = data
        self._limit = min(len(data), offset + MAX_SIZE)

    def item(self, room: int) -> Any:
        start = self.offset
        major, info, argument = self._head()
        if major < 2:
            return -1 - argument if major else argument
        if major == 2:
            return self._take(argument, start, major)
        if major == 3:
            return self._text(argument, start)
        if major == 7:
            return self._simple(info, argument, start)
        if not room:
            raise DecodeError(f"nested more than {MAX_DEPTH} deep", start)
        if major == 4:
            self._expect(argument, start, major)
            return [self.item(room - 1) for _ in range(argument)]
        return self._map(argument, start, room - 1) if major == 5 else self._tag(argument, start, room - 1)

    def _head(self) -> tuple[int, int, int]:
        """Read major type, additional information and argument (RFC 8949 §3)."""
        start = self.offset
        initial = self._take(1, start, None)[0]
        major, info = initial >> 5, initial & 31
        if info < 24:
            return major, info, info
        if info == 31:
            raise DecodeError(_indefinite(major), start)
        if info > 27:
            raise DecodeError(f"reserved additional information {info}", start)
        argument = int.from_bytes(self._take(1 << info - 24, start, major))
        if major < 7 and argument < _LEAST[info]:
            raise DecodeError(f"{_KINDS[major]} whose head is longer than needed", start)
        return major, info, argument

    def _take(self, size: int, start: int, major: int | None) -> bytes:
        """Move over `size` bytes of the item that began at `start`."""
        self._expect(size, start, major)
        begin = self.offset
        self.offset = begin + size
        return self._data[begin : self.offset]

    def _expect(self, size: int, start: int, major: int | None) -> None:
        """Make sure that at least `size` bytes are left."""
        if size <= self._limit - self.offset:
            return
        if self._limit < len(self._data):
            raise DecodeError(f"item of more than {MAX_SIZE} bytes", start)
        what = "item" if major is None else _KINDS[major]
        left = self._limit - self.offset
        raise DecodeError(f"{what} cut short: at least {size} bytes wanted, {left} left", start)

    def _text(self, size: int, start: int) -> str:
        content = self._take(size, start, 3)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            offset = self.offset - size + error.start
            raise DecodeError(f"text that is not UTF-8 ({error.reason})", offset) from None

    def _map(self, size: int, start: int, room: int) -> dict[Any, Any]:
        self._expect(2 * size, start, 5)
        result: dict[Any, Any] = {}
        before = b""
        for _ in range(size):
            offset = self.offset
            key = self._key()
            encoded = self._data[offset : self.offset]
            if encoded <= before:
                fault = "duplicate key" if encoded == before else "map keys that are not in order"
                raise DecodeError(f"{fault}: {key!r:.64}", offset)
            if key in result:
                raise DecodeError(f"key {key!r:.64} and one before it that Python can't tell apart", offset)
            before = encoded
            result[key] = self.item(room)
        return result

    def _key(self) -> Any:
        offset = self.offset
        self._expect(1, offset, None)
        major = self._data[offset] >> 5
        if major in {4, 5, 6}:
            raise DecodeError(f"{_KINDS[major]} as a map key", offset)
        return self.item(0)

    def _tag(self, number: int, start: int, room: int) -> Any:
        if number in {2, 3}:
            return self._bignum(number, start)
        return CBORTag(number, self.item(room))

    def _bignum(self, number: int, start: int) -> int:
        offset = self.offset
        content = self.item(0) if offset < self._limit and self._data[offset] >> 5 == 2 else None
        if content is None:
            raise DecodeError("bignum whose content is not a byte string", start)
        if content[:1] == b"\0":
            raise DecodeError("bignum with leading zeros", start)
        if len(content) < 9:
            raise DecodeError("bignum that fits 64 bits", start)
        magnitude = int.from_bytes(content)
        return magnitude if number == 2 else -1 - magnitude

    def _simple(self, info: int, argument: int, start: int) -> Any:
        if info in _FLOATS:
            return self._float(info, start)
        if info == 24 and argument < 32:
            raise DecodeError(f"simple value {argument} in two bytes", start)
        return _CONSTANTS[argument] if argument in _CONSTANTS else CBORSimpleValue(argument)

    def _float(self, info: int, start: int) -> float:
        value: float = _FLOATS[info].unpack(self._data[start + 1 : self.offset])[0]
        if ENCODERS[float](value, 0) != self._data[start : self.offset]:
            fault = "longer than needed" if value == value else "not the canonical NaN f97e00"  # noqa: PLR0124
            raise DecodeError(f"float that is {fault}", start)
        return value


def _indefinite(major: int) -> str:
    if major == 7:
        return "a break outside of an indefinite length"
    return (
        f"{_KINDS[major]} of indefinite length" if 2 <= major <= 5 else "reserved additional information 31"
    )
