"""Registers to values. Pure.

An order names the bytes as they come over the wire, A being the highest of the value: ABCD is big-endian,
CDAB has the low register first, BADC has the bytes of each register swapped, DCBA is little-endian. A value
of one register has two bytes: BADC and DCBA swap them, CDAB does not.
"""

from __future__ import annotations

import struct
from typing import Final, Literal, TypeAlias

Order: TypeAlias = Literal["ABCD", "CDAB", "BADC", "DCBA"]
NumberType: TypeAlias = Literal["int16", "uint16", "int32", "uint32", "float32"]
ValueType: TypeAlias = Literal["bool", "int16", "uint16", "int32", "uint32", "float32"]

FORMATS: Final[dict[NumberType, struct.Struct]] = {
    "int16": struct.Struct(">h"),
    "uint16": struct.Struct(">H"),
    "int32": struct.Struct(">i"),
    "uint32": struct.Struct(">I"),
    "float32": struct.Struct(">f"),
}


def size_of(value_type: ValueType) -> int:
    """Give how many registers a value takes, or how many bits if it is a bool."""
    return 1 if value_type == "bool" else FORMATS[value_type].size // 2


def big_endian(wire: bytes, order: Order) -> bytes:
    """Give the 2 or 4 bytes of a value, highest first, from how they came over the wire."""
    if order in {"BADC", "DCBA"}:
        wire = b"".join(wire[i : i + 2][::-1] for i in range(0, len(wire), 2))
    if order in {"CDAB", "DCBA"}:
        wire = wire[2:] + wire[:2]
    return wire


def decode_number(wire: bytes, value_type: NumberType, order: Order) -> int | float:
    """Give the number in the 2 or 4 bytes of one or two registers."""
    number: int | float = FORMATS[value_type].unpack(big_endian(wire, order))[0]
    return number
