"""Where a value stands: one of the four tables, an address in it, and maybe a bit of a register. Pure.

Addresses are those of the protocol, 0 to 65535 (Modbus Application Protocol V1.1b3, §4.4). Manuals also count
from 1 (`address_base: 1`) or write reference numbers: 40001 and 400001 are both `holding/0`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

Table: TypeAlias = Literal["coil", "discrete", "input", "holding"]
AddressBase: TypeAlias = Literal[0, 1]

TABLES: Final[tuple[Table, ...]] = get_args(Table)
BIT_TABLES: Final = frozenset({"coil", "discrete"})
WRITABLE_TABLES: Final = frozenset({"coil", "holding"})
MAX_ADDRESS: Final = 65535

_SHAPE: Final = re.compile(r"([a-z]+)/([0-9]{1,9})(?:\.([0-9]{1,2}))?", re.ASCII)
_RANGE: Final = re.compile(r"([a-z]+)/([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)
_REFERENCE: Final = re.compile(r"([0134])([0-9]{4,5})(?:\.([0-9]{1,2}))?", re.ASCII)
_REFERENCE_TABLES: Final[dict[str, Table]] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a table, maybe a bit of the register there.

    `number` is the protocol address, or what a file of `address_base: 1` says until `based` is asked.
    `absolute` marks a reference number (40001), which means the same under any base.
    """

    table: Table
    number: int
    bit: int | None = None
    absolute: bool = False

    def based(self, base: AddressBase) -> Address:
        """Give the protocol address of what was written under a base. Raises ValueError if there is none."""
        number = self.number if self.absolute else self.number - base
        if number < 0:
            raise ValueError(
                f"{self} does not exist where addresses count from 1; the first is {self.table}/1"
            )
        if number > MAX_ADDRESS:
            raise ValueError(
                f"address {self.number} is beyond {MAX_ADDRESS + base}; count from {base}, "
                "without the table's digit"
            )
        return Address(self.table, number, self.bit)

    def __str__(self) -> str:
        return f"{self.table}/{self.number}" + ("" if self.bit is None else f".{self.bit}")


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses of one table from `start` up to, but not including, `end`."""

    table: Table
    start: int
    end: int

    def meets(self, other: Span) -> bool:
        """Say whether the two share an address."""
        return self.table == other.table and self.start < other.end and other.start < self.end

    def based(self, base: AddressBase) -> Span:
        """Give the protocol addresses of what was written under a base. Raises ValueError."""
        first = Address(self.table, self.start).based(base)
        last = Address(self.table, self.end - 1).based(base)
        return Span(self.table, first.number, last.number + 1)

    def __str__(self) -> str:
        return f"{self.table}/{self.start}" + (f"-{self.end - 1}" if self.end - 1 > self.start else "")


def parse_address(text: object) -> Address:
    """Read `holding/0`, `holding/10.3`, 40001 or '400001'. Raises ValueError that says what to write."""
    if isinstance(text, int) and not isinstance(text, bool):
        return _reference(str(text)) or _refuse(text)
    if not isinstance(text, str):
        return _refuse(text)
    match = _SHAPE.fullmatch(text)
    if match is None:
        return _reference(text) or _refuse(text)
    number = int(match[2])
    if number > MAX_ADDRESS + 1:
        raise ValueError(
            f"address {match[2]} is beyond {MAX_ADDRESS}; count from 0, without the table's digit"
        )
    table = _table(match[1])
    return Address(table, number, _bit(table, match[3]))


def parse_span(text: object) -> Span:
    """Read `holding/100-109` or `coil/3`. Raises ValueError that says what to write."""
    match = _RANGE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{str(text)[:32]!r} is not a range of addresses; write it as holding/100-109")
    table, first, last = _table(match[1]), int(match[2]), int(match[3] or match[2])
    if last < first:
        raise ValueError(f"{text} ends before it begins; write {table}/{last}-{first}")
    if last > MAX_ADDRESS + 1:
        raise ValueError(f"address {last} is beyond {MAX_ADDRESS}")
    return Span(table, first, last + 1)


def _table(word: str) -> Table:
    table = next((table for table in TABLES if table == word), None)
    if table is None:
        near = difflib.get_close_matches(word, TABLES, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"the tables are {', '.join(TABLES)}"
        raise ValueError(f"there is no table {word[:32]!r}; {hint}")
    return table


def _bit(table: Table, digits: str | None) -> int | None:
    if digits is None:
        return None
    if table in BIT_TABLES:
        raise ValueError(f"a {table} is one bit already; remove .{digits}")
    if int(digits) > 15:
        raise ValueError(f"a register has the bits 0 to 15, not {digits}; bit 0 is the lowest")
    return int(digits)


def _reference(text: str) -> Address | None:
    """Read a reference number, five or six digits of which the first names the table."""
    match = _REFERENCE.fullmatch(text)
    if match is None or not 0 < int(match[2]) <= MAX_ADDRESS + 1:
        return None
    table = _REFERENCE_TABLES[match[1]]
    return Address(table, int(match[2]) - 1, _bit(table, match[3]), absolute=True)


def _beside_references(text: str) -> str | None:
    """Say what a number of five or six digits lacks that it would name a place."""
    if not re.fullmatch(r"[0-9]{5,6}", text, re.ASCII) or text.startswith("00"):
        return None
    if text[0] not in _REFERENCE_TABLES:
        return "its first digit is 0 for a coil, 1 for a discrete, 3 for an input, 4 for a holding register"
    if int(text[1:]) == 0:
        return f"they count from 1, so the first is {int(text) + 1}"
    return f"the last is {text[0]}65536"


def _refuse(text: object) -> Address:
    if isinstance(text, float):
        raise ValueError(f"put quotes around {text}, so that the digits behind the dot stay")  # noqa: TRY004
    if why := _beside_references(str(text)):
        raise ValueError(f"{text} is no reference: {why}; or write a table and a number, such as holding/0")
    coil = _reference(str(text).zfill(5)) if isinstance(text, int) and text > 0 else None
    mend = (
        f"{coil} for what a manual calls {text:05}, or '{text:05}' in quotes"
        if coil
        else "a table and a number, such as holding/0, coil/3 or holding/10.3, or a reference such as 40001"
    )
    raise ValueError(f"{str(text)[:32]!r} is not an address; write {mend}")


def _address_from_file(value: object) -> Address:
    if isinstance(value, Address):
        return value
    try:
        return parse_address(value)
    except ValueError as error:
        raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None


def _span_from_file(value: object) -> Span:
    if isinstance(value, Span):
        return value
    try:
        return parse_span(value)
    except ValueError as error:
        raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None


def written(address: Address) -> str | int:
    """Give an address as a file may say it, so that reading it again means the same."""
    if not address.absolute:
        return str(address)
    digit = next(digit for digit, table in _REFERENCE_TABLES.items() if table == address.table)
    return f"{digit}{address.number + 1:05}" + ("" if address.bit is None else f".{address.bit}")


AddressField: TypeAlias = Annotated[
    Address,
    BeforeValidator(_address_from_file),
    PlainSerializer(written, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "pattern": rf"^(({'|'.join(TABLES)})/[0-9]+|[0134][0-9]{{4,5}})(\.[0-9]+)?$",
                    "examples": ["holding/0", "coil/3", "holding/10.3"],
                },
                {"type": "integer", "minimum": 10001, "maximum": 465536},
            ],
            "x-type": "text",
        }
    ),
]
"""An address in a configuration."""

SpanField: TypeAlias = Annotated[
    Span,
    BeforeValidator(_span_from_file),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({'|'.join(TABLES)})/[0-9]+(-[0-9]+)?$",
            "examples": ["holding/100-109"],
        }
    ),
]
"""A range of addresses in a configuration."""
