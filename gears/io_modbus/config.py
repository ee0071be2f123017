"""Configuration of `io_modbus`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from fluxrig.duration import Seconds
from fluxrig.gear import IN, GearConfig, Manifest
from fluxrig.modbus.address import AddressBase, SpanField
from fluxrig.modbus.plan import MAX_BITS, MAX_REGISTERS
from fluxrig.modbus.tag_config import MAX_TAGS, TagName, fault
from fluxrig.modbus.tag_file import ProfileFile, TagList, from_file, load_profile, load_tag_list
from fluxrig.modbus.wholes import validated
from gears.io_modbus.device import Device, device_of
from gears.io_modbus.device import faults as device_faults
from gears.io_modbus.endpoint import Endpoint, parse_endpoint
from gears.io_modbus.polled_tag import PolledTag, interval
from gears.io_modbus.sharing import sharing_faults

_FILE: Final = WithJsonSchema({"type": "string", "minLength": 1})


def _endpoint(text: str) -> str:
    try:
        parse_endpoint(text)
    except ValueError as error:
        raise fault(str(error)) from None
    return text


def _tag_list(value: object, info: ValidationInfo) -> object:
    return from_file(value, info, lambda path: load_tag_list(path, PolledTag, partial=True))


def _profile(value: object, info: ValidationInfo) -> object:
    return from_file(value, info, lambda path: load_profile(path, Profile))


EndpointUrl: TypeAlias = Annotated[str, AfterValidator(_endpoint)]
Interval: TypeAlias = Annotated[Seconds, AfterValidator(interval)]
Tags: TypeAlias = Annotated[dict[TagName, PolledTag], Field(max_length=MAX_TAGS)]


class Profile(GearConfig):
    """What all devices of one make have in common; a file of its own, used by many."""

    address_base: AddressBase = 0
    """Whether the addresses of tags count from 0, as in the protocol, or from 1, as in many manuals."""
    max_hole: int = Field(default=16, ge=0, le=2000)
    """How many addresses that no tag asks for may be read to join two tags in one request. 0 for a device
    where reading has side effects."""
    max_registers: int = Field(default=MAX_REGISTERS, ge=1, le=MAX_REGISTERS)
    """The most registers that one request may read; fewer for a poor device."""
    max_bits: int = Field(default=MAX_BITS, ge=1, le=MAX_BITS)
    """The most coils or discrete inputs that one request may read."""
    request_per_tag: bool = False
    """Whether each tag is read by a request of its own, for a device that answers nothing else right."""
    forbidden: list[SpanField] = Field(default_factory=list, max_length=1000)
    """Ranges that are never read, also not to join two tags: `holding/100-109`."""
    single_writes: bool = True
    """Whether one coil or register is written by function 5 or 6; if not, by 15 or 16 as several are."""
    read_modify_write: bool = False
    """Whether a bit or byte of a register is written by reading the register and writing it whole, for a
    device without function 22. What the device itself changes in the register in between is undone."""
    tags: Tags = Field(default_factory=dict)
    """The tags by name."""


class DeviceConfig(Profile):
    """A unit: what to read of it how often."""

    unit: int = Field(default=1, ge=0, le=255)
    """The unit identifier; behind a gateway it chooses the device."""
    every: Interval = 1.0
    """How often tags are read, at a fixed rate; a tag may say another `every`."""
    response_timeout: Seconds = 1.0
    """How long the device may take for an answer before the connection is given up."""
    retries: int = Field(default=0, ge=0, le=10)
    """How often a read that got no answer, or a wrong one, is asked again before its tags turn bad."""
    busy_retries: int = Field(default=2, ge=0, le=100)
    """How often a device that is busy (exception 6) is asked again, 100 ms later each."""
    stale_after: Seconds | None = None
    """After how long without an answer, and without a reason for it, tags turn stale; three times their
    `every` if nothing is said, but no less than the response time-out."""
    profile: Annotated[
        ProfileFile[Profile] | None, BeforeValidator(_profile), PlainSerializer(str, when_used="json"), _FILE
    ] = None
    """A YAML file with settings and tags of this make of device; what is said here goes before it. Relative
    to the Rack file."""
    tag_list: Annotated[
        TagList[PolledTag] | None, BeforeValidator(_tag_list), PlainSerializer(str, when_used="json"), _FILE
    ] = None
    """A CSV file with one tag a line, the first line naming the columns: `name`, `at`, and any other key of a
    tag. Relative to the Rack file."""


class TlsConfig(GearConfig):
    """How `tls://` proves who is who."""

    ca: Annotated[str, Field(min_length=1)] | None = None
    """File with the certificates of those who vouch for the device (PEM); the system's if absent."""
    certificate: Annotated[str, Field(min_length=1)] | None = None
    """File with our own certificate (PEM), which Modbus Security asks for."""
    key: Annotated[str, Field(min_length=1)] | None = None
    """File with the key of our certificate (PEM)."""
    server_name: Annotated[str, Field(min_length=1)] | None = None
    """The name in the device's certificate; the endpoint's host if absent."""
    verify: bool = True
    """Whether the device's certificate is checked. If not, anyone on the way may answer."""


class Config(DeviceConfig):
    """An endpoint, and what to read of the devices there."""

    endpoint: EndpointUrl
    """Where to ask: `tcp://host:502`, `tls://host:802`, `udp://host:502`,
    `rtu:///dev/ttyUSB0?baud=19200&parity=E&stop=1`, `ascii:///dev/…`, `rtu+tcp://host:port`,
    `ascii+tcp://host:port`."""
    backup: EndpointUrl | None = None
    """Where to ask when the endpoint does not answer; the two are tried in turn."""
    backup_return: Seconds | None = 60.0
    """How often the endpoint is asked whether it answers again, while the backup does; once it does, it is
    asked for everything. If null, not until the backup fails."""
    tls: TlsConfig | None = None
    """Certificates for `tls://`; if absent, the device's must be one that the system trusts."""
    connect_timeout: Seconds = 3.0
    """How long taking the connection may last."""
    idle_timeout: Seconds | None = None
    """After how long without a request the connection is closed; never if absent."""
    pause_after_connect: Seconds | None = None
    """How long the device is left alone after it took the connection."""
    pause_between_requests: Seconds | None = None
    """How long the device is left alone after each answer."""
    close_after: Literal["never", "poll", "request"] = "never"
    """When the connection is closed, for a device that takes one at a time and has others to serve."""
    probe_connection: bool = True
    """Whether a unit that fails is asked over a connection of its own, so that the others need not wait for
    it. Has no effect on serial lines, nor where there is one unit only."""
    message: Literal["poll", "request"] = "poll"
    """Whether a message has all that was read at a time, or only what one request read, with the exact time
    of its answer."""
    report_every: Seconds | None = 3600.0
    """How often the port `error` tells how punctually the polls began, as an event `punctuality`; never if
    null."""
    devices: dict[Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")], DeviceConfig] = Field(
        default_factory=dict, max_length=247
    )
    """Several units behind one endpoint, by name; each has messages and a place in the UNS of its own. What
    they don't say is as it is said above."""

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, values: Any, handler: ModelWrapValidatorHandler[Config]) -> Config:
        """Find what is wrong with values and with devices as wholes at once, not one after the other."""
        return validated(values, handler, device_faults, {"endpoint": "tcp://0.0.0.0"})

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoint, and its backup if there is one."""
        return tuple(parse_endpoint(text) for text in (self.endpoint, self.backup) if text)

    def clashes(self, other: Config, name: str, *, apart: bool) -> Iterable[tuple[str, str]]:
        """Find what two gears that share an endpoint say differently of it."""
        return sharing_faults(self, other, name, apart=apart)

    @cached_property
    def units(self) -> tuple[Device, ...]:
        """The devices, each with all that was said of it here, in its profile and above."""
        return tuple(device_of(self, name) for name in self.unit_names())

    def unit_names(self) -> list[str]:
        """Give the names of the devices; "" for the tags of the gear itself."""
        own = self.tags or self.tag_list or self.profile
        return ([""] if own or not self.devices else []) + list(self.devices)


MANIFEST = Manifest(
    kind="io_modbus",
    summary="Polls and writes the registers and coils of Modbus devices",
    config=Config,
    gear="gears.io_modbus.gear:IoModbus",
    inputs=(IN,),
    source=True,
)
