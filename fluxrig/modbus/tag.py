"""A tag: a named value at a place of a device. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fluxrig.modbus.address import Address, Span
from fluxrig.modbus.value_type import FORMS, Encoding, Order, ValueType

Value: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Tag:
    """Where a value stands, and how to understand it. `length` is a string's, in bytes."""

    name: str
    at: Address
    type: ValueType
    order: Order = "ABCD"
    scale: float | None = None
    offset: float | None = None
    precision: int | None = None
    length: int = 0
    encoding: Encoding = "utf-8"

    @property
    def size(self) -> int:
        """In registers, or bits of a bit table."""
        return (self.length + 1) // 2 if self.type == "string" else FORMS[self.type].registers

    @property
    def start(self) -> int:
        return self.at.number

    @property
    def end(self) -> int:
        """The address after the last one of the value."""
        return self.at.number + self.size

    @property
    def span(self) -> Span:
        return Span(self.at.table, self.start, self.end)
