"""The bytes of an answer to values. Pure.

All values of a block are taken with one `struct.unpack` for each order that occurs in it: a value costs far
less than a call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from fluxrig.modbus.address import BIT_TABLES
from fluxrig.modbus.tag import Tag, Value
from fluxrig.modbus.value_type import BCD_DIGITS, FORMS, endian, swapped, swaps_bytes

Decoded: TypeAlias = tuple[dict[str, Value], dict[str, str]]
"""Values by tag, and for the tags whose bytes mean nothing the reason."""

_Raw: TypeAlias = int | float | bytes
_Turn: TypeAlias = Callable[[_Raw], Value]

NOT_BCD: Final = "not_bcd"
NOT_TEXT: Final = "not_text"


class MeaninglessError(ValueError):
    """Bytes that say nothing in the type that they should have. `reason` is for the tag's quality."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BlockDecoder:
    """Decodes the answers to one read of one table that begins at address `start`."""

    def __init__(self, tags: Sequence[Tag], start: int) -> None:
        is_bits = bool(tags) and tags[0].at.table in BIT_TABLES
        self._bits = [(tag.name, tag.start - start) for tag in tags] if is_bits else []
        self._passes = [] if is_bits else [_Pass(group, start) for group in _groups(tags)]

    def __call__(self, payload: bytes) -> Decoded:
        """Give the values in an answer's payload: registers big-endian, or bits from the lowest on."""
        values: dict[str, Value] = {}
        faults: dict[str, str] = {}
        for name, place in self._bits:
            values[name] = bool(payload[place >> 3] >> (place & 7) & 1)
        turned = swapped(payload) if any(each.swaps for each in self._passes) else payload
        for each in self._passes:
            each.take(turned if each.swaps else payload, values, faults)
        return values, faults


class _Pass:
    """One `unpack` over a whole payload, for tags of one order that do not overlap."""

    def __init__(self, tags: Sequence[Tag], start: int) -> None:
        self.swaps = swaps_bytes(tags[0].order)
        self._names = tuple(tag.name for tag in tags)
        self._struct = struct.Struct(_format(tags, start))
        self._turns = [(n, turn) for n, tag in enumerate(tags) if (turn := _turn(tag)) is not None]

    def take(self, payload: bytes, values: dict[str, Value], faults: dict[str, str]) -> None:
        raw = self._struct.unpack_from(payload)
        values.update(zip(self._names, raw, strict=True))
        for n, turn in self._turns:
            name = self._names[n]
            try:
                values[name] = turn(raw[n])
            except MeaninglessError as error:
                del values[name]
                faults[name] = error.reason


def decode_value(tag: Tag, payload: bytes) -> Value:
    """Give the value in a tag's own registers, or in the byte that holds its bit lowest.

    Raises MeaninglessError.
    """
    values, faults = BlockDecoder([tag], tag.start)(payload)
    if faults:
        raise MeaninglessError(faults[tag.name])
    return values[tag.name]


def _groups(tags: Iterable[Tag]) -> list[list[Tag]]:
    """Sort tags into groups that one `unpack` can take: same order, one behind the other."""
    groups: dict[tuple[bool, str], list[list[Tag]]] = {}
    for tag in sorted(tags, key=_first_byte):
        same_order = groups.setdefault((swaps_bytes(tag.order), endian(tag.order)), [])
        for group in same_order:
            if _first_byte(tag) >= _first_byte(group[-1]) + _bytes(group[-1]):
                group.append(tag)
                break
        else:
            same_order.append([tag])
    return [group for same_order in groups.values() for group in same_order]


def _format(tags: Sequence[Tag], start: int) -> str:
    """Give struct's format of the tags from address `start` on, with pad bytes between them."""
    end = start * 2
    parts: list[str] = [endian(tags[0].order)]
    for tag in tags:
        gap = _first_byte(tag) - end
        parts.append(
            f"{gap}x" * bool(gap) + (f"{tag.length}s" if tag.type == "string" else FORMS[tag.type].code)
        )
        end = _first_byte(tag) + _bytes(tag)
    return "".join(parts)


def _first_byte(tag: Tag) -> int:
    return tag.start * 2 + (0 if tag.type == "string" else FORMS[tag.type].at)


def _bytes(tag: Tag) -> int:
    return tag.length if tag.type == "string" else FORMS[tag.type].size


def _turn(tag: Tag) -> _Turn | None:
    """Give what is still to do with what `unpack` gave, or None."""
    if tag.type == "bool":
        mask = 1 << (tag.at.bit or 0)
        return lambda raw: bool(raw & mask)  # type: ignore[operator]
    if tag.type == "string":
        return lambda raw: _text(raw, tag.encoding)  # type: ignore[arg-type]
    digits, scaling = BCD_DIGITS.get(tag.type), _scaling(tag)
    if digits is None:
        return scaling
    if scaling is None:
        return lambda raw: _from_bcd(raw, digits)  # type: ignore[arg-type]
    return lambda raw: scaling(_from_bcd(raw, digits))  # type: ignore[arg-type]


def _scaling(tag: Tag) -> Callable[[_Raw], Value] | None:
    """Scale and round only where asked to, so that integers stay exact and floats whole."""
    scale, offset, precision = tag.scale, tag.offset, tag.precision
    if scale is None and offset is None and precision is None:
        return None

    def turn(number: _Raw) -> Value:
        result: float = number  # type: ignore[assignment]
        if scale is not None:
            result = result * scale
        if offset is not None:
            result = result + offset
        return result if precision is None else round(result, precision)

    return turn


def _text(raw: bytes, encoding: str) -> str:
    """Give the text up to the first NUL, without the blanks that fill it up."""
    try:
        return raw.partition(b"\0")[0].decode(encoding).rstrip(" ")
    except UnicodeDecodeError:
        raise MeaninglessError(NOT_TEXT) from None


def _from_bcd(raw: int, digits: int) -> int:
    text = f"{raw:0{digits}x}"
    if not text.isdecimal():
        raise MeaninglessError(NOT_BCD)
    return int(text)
