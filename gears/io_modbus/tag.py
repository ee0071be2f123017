"""A tag: a named value at a place of a device. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gears.io_modbus.address import Address
from gears.io_modbus.decode import Order, ValueType, decode_number, size_of

Value: TypeAlias = bool | int | float


@dataclass(frozen=True, slots=True)
class Tag:
    """What to read, and how to understand it."""

    name: str
    at: Address
    type: ValueType
    order: Order = "ABCD"
    scale: float | None = None
    offset: float | None = None

    @property
    def start(self) -> int:
        return self.at.number

    @property
    def end(self) -> int:
        """The address after the last one of the value."""
        return self.at.number + size_of(self.type)

    def value_in(self, answer: Sequence[int], start: int) -> Value:
        """Give the tag's value from the bits or registers of an answer that begins at address `start`."""
        if self.type == "bool":
            return bool(answer[self.start - start])
        registers = answer[self.start - start : self.end - start]
        wire = b"".join(register.to_bytes(2) for register in registers)
        return self._scaled(decode_number(wire, self.type, self.order))

    def _scaled(self, number: int | float) -> int | float:
        """Scale only where asked to, so that integers stay exact."""
        if self.scale is not None:
            number = number * self.scale
        if self.offset is not None:
            number = number + self.offset
        return number
