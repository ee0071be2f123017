"""Configuration of `io_modbus`."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from fluxrig.duration import Seconds
from fluxrig.gear import GearConfig, Manifest
from gears.io_modbus.address import BIT_TABLES, MAX_ADDRESS, AddressField
from gears.io_modbus.decode import Order, ValueType, size_of
from gears.io_modbus.tag import Tag

PORT: Final = 502

Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
TagName: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]


def parse_endpoint(text: str) -> tuple[str, int]:
    """Give host and port of `tcp://host:port`. Raises ValueError that says what to write."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", PORT if parts.port is None else parts.port
        host.encode("idna")
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    if (
        parts.scheme != "tcp"
        or not host
        or not port
        or parts.netloc != text.removeprefix("tcp://")
        or "@" in text
    ):
        raise ValueError(
            f"{text[:64]!r} is not an endpoint; write tcp://host:port, such as tcp://10.20.0.5:502"
        )
    return host, port


def _endpoint(text: str) -> str:
    try:
        parse_endpoint(text)
    except ValueError as error:
        raise _fault(str(error)) from None
    return text


def _fault(reason: str) -> PydanticCustomError:
    return PydanticCustomError("modbus", "{reason}", {"reason": reason})


class TagConfig(GearConfig):
    """One tag of a device."""

    at: AddressField
    """Where it stands: `coil/`, `discrete/`, `input/` or `holding/`, and the protocol address from 0. What a
    manual calls 40001 is `holding/0`."""
    type: ValueType | None = None
    """What it is. A coil or discrete input is a bool, a register is a uint16 if nothing is said; int32,
    uint32 and float32 take two registers."""
    order: Order = "ABCD"
    """The bytes as they come over the wire, A being the highest: ABCD is big-endian, CDAB has the low
    register first, BADC has the bytes of each register swapped, DCBA is little-endian."""
    scale: Finite | None = None
    """What the value is multiplied with; the result is a float."""
    offset: Finite | None = None
    """What is added, after `scale`; the result is a float."""
    unit: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The unit of the value, for `meta`: `bar`, `°C`."""

    @property
    def value_type(self) -> ValueType:
        return self.type or ("bool" if self.at.table in BIT_TABLES else "uint16")

    @model_validator(mode="after")
    def _fits(self) -> TagConfig:
        if reason := self._bit_fault() if self.at.table in BIT_TABLES else self._register_fault():
            raise _fault(reason)
        if self.scale == 0:
            raise _fault("scale 0 would make every value the same; leave it out, or write the right factor")
        return self

    def _bit_fault(self) -> str | None:
        if self.value_type != "bool":
            return f"{self.at} is one bit; leave out type: {self.type}, or read a register"
        for name in ("order", "scale", "offset"):
            if name in self.model_fields_set:
                return f"{self.at} is one bit, which has no {name}; remove it"
        return None

    def _register_fault(self) -> str | None:
        if self.value_type == "bool":
            return f"{self.at} is a register of 16 bits; read it as uint16, or read a coil or discrete input"
        last = self.at.number + size_of(self.value_type) - 1
        if last > MAX_ADDRESS:
            return (
                f"a {self.value_type} at {self.at} would need register {last}; the last one is {MAX_ADDRESS}"
            )
        return None


class Config(GearConfig):
    """A device, and what to read of it how often."""

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    """The device: `tcp://host:port`; the port is 502 if nothing is said."""
    unit: int = Field(default=1, ge=0, le=255)
    """The unit identifier; behind a gateway it chooses the device."""
    every: Seconds = 1.0
    """How often all tags are read, at a fixed rate."""
    response_timeout: Seconds = 1.0
    """How long the device may take for an answer, or for taking the connection, before the connection is
    given up."""
    max_hole: int = Field(default=16, ge=0, le=2000)
    """How many addresses that no tag asks for may be read to join two tags in one request. 0 for a device
    where reading has side effects."""
    tags: dict[TagName, TagConfig] = Field(min_length=1, max_length=5000)
    """The tags by name."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return parse_endpoint(self.endpoint)

    def to_read(self) -> list[Tag]:
        """Give the tags as the planner takes them."""
        return [
            Tag(name, tag.at, tag.value_type, tag.order, tag.scale, tag.offset)
            for name, tag in self.tags.items()
        ]


MANIFEST = Manifest(
    kind="io_modbus",
    summary="Polls the registers and coils of a Modbus TCP device",
    config=Config,
    gear="gears.io_modbus.gear:IoModbus",
    source=True,
)
