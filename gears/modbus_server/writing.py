"""What a client's write means in tags. Pure.

A write is taken whole or not at all. It must cover each tag that it touches, and touch only tags that say
`write: true`; the other tags of a shared register must keep their bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fluxrig.modbus.decode import MeaninglessError, decode_value
from fluxrig.modbus.encode import WHOLE
from fluxrig.modbus.tag import Value
from gears.modbus_server.image import (
    DEVICE_FAILURE,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    Cell,
    Image,
    Refused,
)


@dataclass(frozen=True, slots=True)
class Bound:
    """What a client may write to a tag."""

    min: float | None = None
    max: float | None = None


Bounds: TypeAlias = Mapping[str, Bound]
"""Of the tags that clients may write, by name."""


def written_bits(image: Image, bounds: Bounds, start: int, bits: bytes) -> dict[str, Value]:
    """Give the coils that a write sets, by tag. Raises Refused."""
    _any_writable(image, bounds, "coil")
    cells = image.cells_at("coil", start, len(bits), holes=False)
    for cell in cells:
        _must_be_writable(cell, bounds)
    return {cell.tag.name: bool(bits[cell.tag.start - start]) for cell in cells}


def written_registers(
    image: Image, bounds: Bounds, start: int, data: bytes, *, touched: int = WHOLE, now_ns: int
) -> dict[str, Value]:
    """Give what a write of registers sets, by tag. `touched` are the bits that it means. Raises Refused."""
    _any_writable(image, bounds, "holding")
    count = len(data) // 2
    cells = image.cells_at("holding", start, count, holes=False)
    _nobodys_bits_are_zero(cells, start, data, touched)
    written: dict[str, Value] = {}
    for cell in cells:
        if not cell.bits & touched:
            continue
        if cell.tag.name not in bounds and cell.bits != WHOLE:
            _must_stay(cell, image, data, start, now_ns)
            continue
        _must_be_writable(cell, bounds)
        if cell.bits & ~touched and not image.is_good(cell, now_ns):
            raise Refused(DEVICE_FAILURE, f"{cell.tag.name} is bad, so that a part of it can't be written")
        written[cell.tag.name] = _within(bounds[cell.tag.name], cell, _decode(cell, start, data))
    return written


def _any_writable(image: Image, bounds: Bounds, table: str) -> None:
    if not any(image.cells[name].tag.at.table == table for name in bounds):
        raise Refused(ILLEGAL_FUNCTION, f"no {table} may be written; a tag says so with write: true")


def _must_be_writable(cell: Cell, bounds: Bounds) -> None:
    if cell.tag.name not in bounds:
        raise Refused(ILLEGAL_ADDRESS, f"{cell.tag.name} may not be written; it says so with write: true")


def _must_stay(cell: Cell, image: Image, data: bytes, start: int, now_ns: int) -> None:
    """Refuse a write that would change a read-only tag which shares its register with others."""
    at = 2 * (cell.tag.start - start)
    new, old = int.from_bytes(data[at : at + 2]), image.register(cell.tag.start)
    if (new ^ old) & cell.bits or not image.is_good(cell, now_ns):
        raise Refused(ILLEGAL_ADDRESS, f"{cell.tag.name} in the same register may not be written")


def _nobodys_bits_are_zero(cells: list[Cell], start: int, data: bytes, touched: int) -> None:
    owned = [0] * (len(data) // 2)
    for cell in cells:
        for number in range(max(cell.tag.start, start), min(cell.tag.end, start + len(owned))):
            owned[number - start] |= cell.bits
    for n, bits in enumerate(owned):
        if int.from_bytes(data[2 * n : 2 * n + 2]) & touched & ~bits:
            raise Refused(ILLEGAL_VALUE, f"bits of holding/{start + n} that belong to no tag are set")


def _decode(cell: Cell, start: int, data: bytes) -> Value:
    tag = cell.tag
    if tag.start < start or tag.end > start + len(data) // 2:
        raise Refused(ILLEGAL_VALUE, f"{tag.name} takes {tag.size} registers; write them in one request")
    try:
        return decode_value(tag, data[2 * (tag.start - start) : 2 * (tag.end - start)])
    except MeaninglessError as error:
        raise Refused(ILLEGAL_VALUE, f"what is written to {tag.name} is {error.reason}") from None


def _within(bound: Bound, cell: Cell, value: Value) -> Value:
    if isinstance(value, float) and value - value != 0:
        raise Refused(ILLEGAL_VALUE, f"{value} for {cell.tag.name} is no finite number")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if bound.min is not None and value < bound.min:
            raise Refused(ILLEGAL_VALUE, f"{value} for {cell.tag.name} is below {bound.min:g}")
        if bound.max is not None and value > bound.max:
            raise Refused(ILLEGAL_VALUE, f"{value} for {cell.tag.name} is above {bound.max:g}")
    return value
