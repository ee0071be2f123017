"""The types that a value may have, and the orders in which its bytes may come. Pure.

An order names the bytes as they come over the wire, A being the highest of the value: ABCD is big-endian,
CDAB has the low register first, BADC has the bytes of each register swapped, DCBA is little-endian. Values of
four registers have the same orders, also written ABCDEFGH, GHEFCDAB, BADCFEHG, HGFEDCBA. A value of one
register has two bytes: BADC and DCBA swap them, CDAB does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

ValueType: TypeAlias = Literal[
    "bool",
    "int8_high",
    "int8_low",
    "uint8_high",
    "uint8_low",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bcd16",
    "bcd32",
    "string",
]
ShortOrder: TypeAlias = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Order: TypeAlias = Literal["ABCD", "CDAB", "BADC", "DCBA", "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"]
Encoding: TypeAlias = Literal["utf-8", "ascii", "latin-1"]

VALUE_TYPES: Final[tuple[ValueType, ...]] = get_args(ValueType)
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
SHORT_ORDERS: Final[tuple[ShortOrder, ...]] = get_args(ShortOrder)
MAX_STRING: Final = 250
"""Bytes of a string: as many as one read of 125 registers has."""

_LONG: Final[Mapping[Order, ShortOrder]] = {
    "ABCDEFGH": "ABCD",
    "GHEFCDAB": "CDAB",
    "BADCFEHG": "BADC",
    "HGFEDCBA": "DCBA",
}


@dataclass(frozen=True, slots=True)
class Form:
    """How a type lies in its registers: `code` is struct's letter, `at` the byte where it begins."""

    code: str
    registers: int
    at: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return 1 if self.code in "bB" else self.registers * 2


FORMS: Final[Mapping[ValueType, Form]] = {
    "bool": Form("H", 1),
    "int8_high": Form("b", 1),
    "int8_low": Form("b", 1, at=1),
    "uint8_high": Form("B", 1),
    "uint8_low": Form("B", 1, at=1),
    "int16": Form("h", 1),
    "uint16": Form("H", 1),
    "int32": Form("i", 2),
    "uint32": Form("I", 2),
    "int64": Form("q", 4),
    "uint64": Form("Q", 4),
    "float16": Form("e", 1),
    "float32": Form("f", 2),
    "float64": Form("d", 4),
    "bcd16": Form("H", 1),
    "bcd32": Form("I", 2),
}
"""Of every type but string, whose length is its tag's."""

INT_TYPES: Final = frozenset(value_type for value_type in FORMS if "int" in value_type)
FLOAT_TYPES: Final = frozenset({"float16", "float32", "float64"})
BCD_DIGITS: Final[Mapping[str, int]] = {"bcd16": 4, "bcd32": 8}
PART_TYPES: Final = frozenset({"bool", "int8_high", "int8_low", "uint8_high", "uint8_low"})
"""Those that take only a part of a register; its other bits may be another tag's."""


def is_long(order: Order) -> bool:
    """Say whether the order is written for eight bytes."""
    return order in _LONG


def short(order: Order) -> ShortOrder:
    """Give the order as it is written for four bytes: what swaps is the same."""
    return _LONG.get(order) or order  # type: ignore[return-value]


def swaps_bytes(order: Order) -> bool:
    """Say whether to swap the bytes of each register before the rest is plain big- or little-endian.

    So an order does not depend on where in a block a value begins: CDAB is little-endian on swapped bytes.
    """
    return short(order) in {"BADC", "CDAB"}


def endian(order: Order) -> Literal[">", "<"]:
    """Give struct's sign for what is left of an order once `swaps_bytes` was heeded."""
    return "<" if short(order) in {"CDAB", "DCBA"} else ">"


def swapped(payload: bytes) -> bytes:
    """Swap the two bytes of each register."""
    result = bytearray(len(payload))
    result[0::2], result[1::2] = payload[1::2], payload[0::2]
    return bytes(result)


def named(value_type: ValueType) -> str:
    """Give a type as a sentence has it: a uint16, an int32."""
    return f"{'an' if value_type.startswith('int') else 'a'} {value_type}"
