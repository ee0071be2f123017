"""What clients see: registers and bits, and which tags they belong to. Pure.

A register that holds several tags (bits, int8) is answered when all of them are good, and a read when all
that it touches are: Modbus has no quality for a part of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fluxrig.modbus.address import BIT_TABLES, MAX_ADDRESS, TABLES, Table
from fluxrig.modbus.encode import WHOLE, encode_value
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.value_type import FORMS

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
DEVICE_FAILURE: Final = 4
ACKNOWLEDGE: Final = 5
BUSY: Final = 6
NO_SUCH_UNIT: Final = 11

NEVER: Final = "no value yet"


class Refused(Exception):
    """A request that is answered with an exception (Modbus Application Protocol V1.1b3, §7)."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(eq=False, slots=True)
class Cell:
    """A tag at its place. `fault` says why it is bad, "" that it is good."""

    tag: Tag
    bits: int
    """Which bits of each of its registers are its own."""
    has_value: bool = False
    fault: str = NEVER
    seen_ns: int = 0
    """When it last got a value, on a clock that never steps."""


class Image:
    """The four tables of one server."""

    def __init__(
        self,
        tags: Iterable[Tag],
        *,
        keep_last: bool = False,
        zero_holes: bool = False,
        max_age_ns: int | None = None,
    ) -> None:
        self.cells = {tag.name: Cell(tag, bits_of(tag)) for tag in tags}
        self._keep_last = keep_last
        self._zero_holes = zero_holes
        self._max_age_ns = max_age_ns
        self._owners: dict[Table, dict[int, tuple[Cell, ...]]] = {table: {} for table in TABLES}
        for cell in self.cells.values():
            owners = self._owners[cell.tag.at.table]
            for number in range(cell.tag.start, cell.tag.end):
                owners[number] = (*owners.get(number, ()), cell)
        self._inner = {
            table: range(min(owners, default=0), max(owners, default=-1) + 1)
            for table, owners in self._owners.items()
        }
        """From the first tag of each table to the last."""
        self._banks = {table: bytearray(_width(table) * inner.stop) for table, inner in self._inner.items()}

    def put(self, name: str, value: object, now_ns: int) -> None:
        """Take a tag's new value. Raises ValueError when it has no place there; the tag is then bad."""
        cell = self.cells[name]
        tag = cell.tag
        try:
            encoded = encode_value(tag, value)
        except ValueError as error:
            cell.fault = str(error)
            raise
        bank, width = self._banks[tag.at.table], _width(tag.at.table)
        place = slice(width * tag.start, width * tag.end)
        if cell.bits == WHOLE or width == 1:
            bank[place] = encoded.payload
        else:
            old, new = int.from_bytes(bank[place]), int.from_bytes(encoded.payload)
            bank[place] = (old & ~cell.bits | new & cell.bits).to_bytes(2)
        cell.has_value, cell.fault, cell.seen_ns = True, "", now_ns

    def spoil(self, name: str, why: str) -> None:
        """Note that a tag is bad; its last value stays for `keep_last`."""
        self.cells[name].fault = why

    def read(self, table: Table, start: int, count: int, now_ns: int) -> bytes:
        """Give registers big-endian, or a byte of 0 or 1 for each bit. Raises Refused."""
        for cell in self.cells_at(table, start, count):
            if not (cell.has_value if self._keep_last else self.is_good(cell, now_ns)):
                raise Refused(DEVICE_FAILURE, f"{cell.tag.name} is bad: {cell.fault or 'too old'}")
        width = _width(table)
        return bytes(self._banks[table][width * start : width * (start + count)])

    def is_good(self, cell: Cell, now_ns: int) -> bool:
        """Say whether a tag has a value that holds now."""
        too_old = self._max_age_ns is not None and now_ns - cell.seen_ns > self._max_age_ns
        return not cell.fault and not too_old

    def register(self, number: int) -> int:
        """Give what stands in a holding register now."""
        return int.from_bytes(self._banks["holding"][2 * number : 2 * number + 2])

    def cells_at(self, table: Table, start: int, count: int, *, holes: bool = True) -> list[Cell]:
        """Give the tags that these addresses touch. Raises Refused where there is none, but for `holes`."""
        owners = self._owners[table]
        if start + count - 1 > MAX_ADDRESS:
            raise Refused(ILLEGAL_ADDRESS, f"{table}/{start}+{count} ends beyond {MAX_ADDRESS}")
        found: dict[Cell, None] = {}
        for number in range(start, start + count):
            cells = owners.get(number)
            if cells is None:
                if not (holes and self._zero_holes and number in self._inner[table]):
                    raise Refused(ILLEGAL_ADDRESS, f"no tag is at {table}/{number}")
            else:
                found.update(dict.fromkeys(cells))
        return list(found)


def bits_of(tag: Tag) -> int:
    """Give which bits of each of its registers a tag claims."""
    if tag.type == "bool" and tag.at.table not in BIT_TABLES:
        return 1 << (tag.at.bit or 0)
    form = FORMS.get(tag.type)
    return 0xFF00 >> 8 * form.at if form is not None and form.size == 1 else WHOLE


def _width(table: Table) -> int:
    """Bytes of one address in a bank."""
    return 1 if table in BIT_TABLES else 2
