"""A tag as io_modbus reads and writes it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, model_validator

from fluxrig.duration import Seconds
from fluxrig.modbus.address import WRITABLE_TABLES
from fluxrig.modbus.encode import encode_value, shown
from fluxrig.modbus.tag import Tag, Value
from fluxrig.modbus.tag_config import Finite, TagConfig, fault
from fluxrig.modbus.value_type import named

SHORTEST_S: Final = 0.005
_NOT_NUMBERS: Final = frozenset({"bool", "string"})


def interval(seconds: float) -> float:
    """Refuse what is shorter than a poll may be."""
    if seconds < SHORTEST_S:
        raise fault("a device is polled every 5ms at most; write a longer interval")
    return seconds


class PolledTag(TagConfig):
    """One tag of a device."""

    every: Annotated[Seconds, AfterValidator(interval)] | None = None
    """How often it is read; as often as its device if nothing is said."""
    write: bool = False
    """Whether messages may write it."""
    min: Finite | None = None
    """The lowest value that may be written."""
    max: Finite | None = None
    """The highest value that may be written."""
    allowed: list[bool | int | float | str] | None = Field(default=None, min_length=1, max_length=1000)
    """The only values that may be written."""
    read_back: bool = False
    """Whether a write is read back, and counts only if the device has the value then."""
    overlap: bool = False
    """Says that the tag shares registers with others on purpose."""

    @model_validator(mode="after")
    def _write_fits(self) -> PolledTag:
        if reason := self._write_fault() or self._range_fault():
            raise fault(reason)
        return self

    def _write_fault(self) -> str | None:
        if self.write and self.at.table not in WRITABLE_TABLES:
            return f"{self.at} can't be written: only coils and holding registers can; remove write"
        for key in ("min", "max", "allowed", "read_back"):
            if key in self.model_fields_set and not self.write:
                return f"{key} is for tags that are written; add write: true, or remove it"
        return None

    def _range_fault(self) -> str | None:
        for key in ("min", "max"):
            if key in self.model_fields_set and self.value_type in _NOT_NUMBERS:
                return f"{named(self.value_type)} has no {key}; write allowed: [...]"
        if self.min is not None and self.max is not None and self.min > self.max:
            return f"min {self.min:g} is above max {self.max:g}; no value could be written"
        return next(filter(None, map(self._allowed_fault, self.allowed or ())), None)

    def _allowed_fault(self, value: Value) -> str | None:
        try:
            encode_value(Tag("", self.at, **self._form()), value)
        except ValueError as error:
            return f"allowed: {error}"
        return None

    def _form(self) -> dict[str, Any]:
        return {
            "type": self.value_type,
            "order": self.order,
            "scale": self.scale,
            "offset": self.offset,
            "length": self.length or 0,
            "encoding": self.encoding,
        }

    def refusal_of(self, value: object) -> str | None:
        """Say why a value may not be written, or None. Whether it fits the register is encoding's."""
        if not self.write:
            return "the tag is read only; it needs write: true"
        if self.allowed is not None and value not in self.allowed:
            return f"{shown(value)} is not one of the allowed values"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.min is not None and not value >= self.min:
                return f"{shown(value)} is below min {self.min:g}"
            if self.max is not None and not value <= self.max:
                return f"{shown(value)} is above max {self.max:g}"
        return None
