"""What a configuration says of a tag: place, type, order, scale."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fluxrig.gear import GearConfig
from fluxrig.modbus.address import BIT_TABLES, MAX_ADDRESS, AddressBase, AddressField
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.value_type import (
    FORMS,
    MAX_STRING,
    PART_TYPES,
    Encoding,
    Order,
    ValueType,
    is_long,
    named,
    short,
)

Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
TagName: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
MAX_TAGS: Final = 20_000


def fault(reason: str) -> PydanticCustomError:
    """Give an error whose text is `reason` as it stands."""
    return PydanticCustomError("modbus", "{reason}", {"reason": reason})


class TagConfig(GearConfig):
    """One tag of a device."""

    at: AddressField
    """Where it stands: `coil/`, `discrete/`, `input/` or `holding/` and the address; `holding/10.3` is bit
    3 of a register, 0 being the lowest. Or the number that a manual gives: `40001` is `holding/0`."""
    type: ValueType | None = None
    """What it is. A coil, a discrete input and a bit of a register are a bool, a register is a uint16 if
    nothing is said. The types of 32 bits take two registers, those of 64 bits four."""
    order: Order = "ABCD"
    """The bytes as they come over the wire, A being the highest: ABCD is big-endian, CDAB has the low
    register first, BADC has the bytes of each register swapped, DCBA is little-endian. The forms of eight
    letters are the same for values of 64 bits."""
    length: int | None = Field(default=None, ge=1, le=MAX_STRING)
    """How many bytes a string has: two a register."""
    encoding: Encoding = "utf-8"
    """How a string's bytes are read."""
    scale: Finite | None = None
    """What the value is multiplied with; the result is a float."""
    offset: Finite | None = None
    """What is added, after `scale`; the result is a float."""
    precision: int | None = Field(default=None, ge=0, le=15)
    """How many digits behind the point a number is rounded to; nothing is rounded if nothing is said."""
    unit: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The unit of the value, for `meta`: `bar`, `°C`."""

    @property
    def value_type(self) -> ValueType:
        if self.type is None:
            return "bool" if self.at.table in BIT_TABLES or self.at.bit is not None else "uint16"
        return self.type

    def to_tag(self, name: str, base: AddressBase = 0) -> Tag:
        """Give the tag at its protocol address. Raises ValueError where there is none."""
        tag = Tag(
            name,
            self.at.based(base),
            self.value_type,
            self.order,
            self.scale,
            self.offset,
            self.precision,
            self.length or 0,
            self.encoding,
        )
        if tag.end - 1 > MAX_ADDRESS:
            raise ValueError(
                f"{named(tag.type)} at {self.at} would need register {tag.end - 1 + base}; "
                f"the last one is {MAX_ADDRESS + base}"
            )
        return tag

    @model_validator(mode="after")
    def _fits(self) -> TagConfig:
        reasons = (
            self._bit_fault,
            self._type_fault,
            self._order_fault,
            self._string_fault,
            self._scale_fault,
        )
        for reason in reasons:
            if found := reason():
                raise fault(found)
        return self

    def _bit_fault(self) -> str | None:
        is_bit = self.at.table in BIT_TABLES or self.at.bit is not None
        if not is_bit:
            return None
        if self.value_type != "bool":
            instead = "read the register without .bit" if self.at.bit is not None else "read a register"
            return f"{self.at} is one bit; leave out type: {self.type}, or {instead}"
        return self._superfluous(f"{self.at} is one bit", "order", "scale", "offset", "precision")

    def _type_fault(self) -> str | None:
        if self.value_type == "bool" and self.at.table not in BIT_TABLES and self.at.bit is None:
            return (
                f"{self.at} is a register of 16 bits; read it as uint16, one bit of it as {self.at}.0, "
                "or read a coil or discrete input"
            )
        return None

    def _order_fault(self) -> str | None:
        if self.value_type in PART_TYPES:
            return self._superfluous(f"{named(self.value_type)} is a part of one register", "order")
        if self.value_type == "string":
            if short(self.order) in {"CDAB", "DCBA"} or is_long(self.order):
                return f"a string has the order ABCD, or BADC where bytes are swapped, not {self.order}"
        elif is_long(self.order) and FORMS[self.value_type].registers != 4:
            return (
                f"{self.order} is for 64 bits, {named(self.value_type)} has fewer; write {short(self.order)}"
            )
        return None

    def _string_fault(self) -> str | None:
        if self.value_type != "string":
            return self._superfluous(f"{named(self.value_type)} is no string", "length", "encoding")
        if self.length is None:
            return "a string needs its length in bytes, two a register; add length: 16"
        return self._superfluous("a string is no number", "scale", "offset", "precision")

    def _scale_fault(self) -> str | None:
        if self.scale == 0:
            return "scale 0 would make every value the same; leave it out, or write the right factor"
        return None

    def _superfluous(self, because: str, *keys: str) -> str | None:
        for key in keys:
            if key in self.model_fields_set:
                return f"{because}, which has no {key}; remove it"
        return None
