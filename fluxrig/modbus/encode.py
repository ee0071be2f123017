"""Values to the bytes of a write. Pure: the inverse of `decode`."""

from __future__ import annotations

import math
import reprlib
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from fluxrig.modbus.address import BIT_TABLES
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.value_type import BCD_DIGITS, FLOAT_TYPES, FORMS, endian, named, swapped, swaps_bytes

WHOLE: Final = 0xFFFF
_short: Final = reprlib.Repr()
_short.maxstring = _short.maxlong = _short.maxother = 40


@dataclass(frozen=True, slots=True)
class Encoded:
    """What to write at a tag's address: a bit for a coil (one byte, 0 or 1), else registers big-endian.

    `mask` has the bits of a single register that are the tag's own; the others must stay as they are.
    """

    payload: bytes
    mask: int = WHOLE


def shown(value: object) -> str:
    """Give a value as an error may print it: not too long, whatever a message brought."""
    try:
        return _short.repr(value)[:60]
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"


def encode_value(tag: Tag, value: object) -> Encoded:
    """Encode a value for a tag. Raises ValueError that says why it has no place there."""
    if tag.type == "bool":
        return _bit(tag, value)
    if tag.type == "string":
        return Encoded(_string(tag, value))
    raw = _raw(tag, _number(value))
    form = FORMS[tag.type]
    try:
        packed = struct.pack(endian(tag.order) + form.code, raw)
    except (struct.error, OverflowError):
        where = _after_scale(tag, raw)
        raise ValueError(f"{shown(value)} is beyond what {named(tag.type)} can hold{where}") from None
    if form.size == 1:
        return Encoded(b"\0" * form.at + packed + b"\0" * (1 - form.at), 0xFF00 >> 8 * form.at)
    return Encoded(swapped(packed) if swaps_bytes(tag.order) else packed)


def _bit(tag: Tag, value: object) -> Encoded:
    if not isinstance(value, bool) and not (isinstance(value, int | float) and value in (0, 1)):
        raise ValueError(f"{shown(value)} is neither true nor false")
    if tag.at.table in BIT_TABLES:
        return Encoded(bytes([bool(value)]))
    mask = 1 << (tag.at.bit or 0)
    return Encoded((mask if value else 0).to_bytes(2), mask)


def _string(tag: Tag, value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no text")  # noqa: TRY004 - one error for one cause
    try:
        text = value.encode(tag.encoding)
    except UnicodeEncodeError:
        raise ValueError(f"{shown(value)} has characters that {tag.encoding} has not") from None
    if len(text) > tag.length:
        raise ValueError(f"{shown(value)} takes {len(text)} bytes, the tag has {tag.length}")
    if b"\0" in text:
        raise ValueError("a text with a NUL in it would be read back cut short")
    filled = text.ljust(tag.size * 2, b"\0")
    return swapped(filled) if swaps_bytes(tag.order) else filled


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{shown(value)} is no number")  # noqa: TRY004 - one error for one cause
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no finite number")
    return value


def _raw(tag: Tag, value: int | float) -> int | float:
    """Undo offset and scale. A scaled integer is rounded to the nearest step, a plain one must be whole."""
    if tag.scale is None and tag.offset is None:
        number: int | float | Fraction = value
    else:
        number = (Fraction(value) - Fraction(tag.offset or 0)) / Fraction(tag.scale or 1)
    if tag.type in FLOAT_TYPES:
        return _as_float(number)
    if isinstance(number, float) and not number.is_integer():
        raise ValueError(f"{shown(value)} is no whole number; {named(tag.type)} holds no others")
    whole = round(number)
    return _bcd(tag, whole) if tag.type in BCD_DIGITS else whole


def _as_float(number: int | float | Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueError("the value is too large for a float") from None


def _bcd(tag: Tag, whole: int) -> int:
    digits = BCD_DIGITS[tag.type]
    if not 0 <= whole < 10**digits:
        raise ValueError(f"{shown(whole)} is beyond what {named(tag.type)} can hold: 0 to {10**digits - 1}")
    return int(str(whole), 16)


def _after_scale(tag: Tag, raw: int | float | Fraction) -> str:
    if tag.scale is None and tag.offset is None:
        return ""
    try:
        return f" ({float(raw):g} in the register)"
    except OverflowError:
        return ""
