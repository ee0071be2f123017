"""The shape of a Rack file: what stands around the gears' own settings."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from fluxrig.duration import Seconds, parse_duration
from fluxrig.identity.address import Address
from fluxrig.identity.names import RACK_NAME, rack_fault
from fluxrig.rackfile.model import (
    DEFAULT_QUEUE,
    DEFAULT_STORE_BYTES,
    DEFAULT_TIMEOUT_S,
    UPLINK,
    Isolation,
    WhenFull,
)
from fluxrig.size import Bytes, format_size
from fluxrig.uns import path_fault

DEFAULT_PORT: Final = 7422
GEAR_NAME: Final = "^[A-Za-z0-9_-]{1,64}$"
SMALLEST_STORE_BYTES: Final = 1 << 20
LONGEST_SYNC_S: Final = 120.0


def _rack_name(name: str) -> str:
    if fault := rack_fault(name):
        raise ValueError(fault)
    return name


def _uns_path(path: str) -> str:
    if fault := path_fault(path):
        raise ValueError(fault)
    return path


def _host(address: str) -> str:
    try:
        Address.parse(address, DEFAULT_PORT)
    except ValueError:
        raise ValueError("write the Mixer as host or host:port, without a scheme") from None
    return address


UnsPath = Annotated[str, AfterValidator(_uns_path)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SnakeEntry(_Part):
    """The link to the Mixer."""

    mixer: Annotated[str, AfterValidator(_host)] | SkipJsonSchema[None] = None
    """Where the Mixer is, if not where the join token says: `host` or `host:port`; the port, that of the
    leaf link, is 7422 if absent."""
    join: str | SkipJsonSchema[None] = Field(default=None, min_length=1, max_length=4096)
    """File with the join token, relative to the Rack file; read until the Rack is enrolled. Absent: the
    environment variable FLUXRIG_JOIN, or `fluxrig enroll`."""


def _sync(text: str) -> str:
    if text != "always" and parse_duration(text) > LONGEST_SYNC_S:
        raise ValueError("sync is always, or an interval of at most 2m")
    return text


def _store_size(size: int) -> int:
    if size < SMALLEST_STORE_BYTES:
        raise ValueError(f"a store has at least {format_size(SMALLEST_STORE_BYTES)}")
    return size


class StoreEntry(_Part):
    """What the leaf keeps on its disk."""

    max_bytes: Annotated[Bytes, AfterValidator(_store_size)] = DEFAULT_STORE_BYTES
    """The most that may wait for the Mixer; never more than half of the disk's free room."""
    max_age: Seconds | SkipJsonSchema[None] = None
    """What is older is dropped and counted, sent or not; absent: nothing is too old."""
    when_full: WhenFull = "block"
    """What a full store does: make the sources wait, or drop the oldest messages and count them."""
    sync: Annotated[str, AfterValidator(_sync)] = "always"
    """When a message is on the disk: `always` before it counts as stored, or every so often, such as `1s`:
    faster, but a power cut takes what came since."""


class WireEntry(_Part):
    """A wire with settings of its own."""

    wire: str
    """Where from and where to: `press -> steady -> uplink`. `gear.port` names another port."""
    queue: int = Field(default=DEFAULT_QUEUE, ge=1, le=1_000_000)
    """How many messages may wait in it."""
    when_full: WhenFull = "block"
    """What a full wire does: make its source wait, or drop the oldest message and count it."""
    lane: Literal["hot"] = "hot"
    """Where waiting messages are kept: `hot` is memory."""

    @field_validator("lane", mode="before")
    @classmethod
    def _available(cls, lane: object) -> object:
        if lane == "guaranteed":
            raise ValueError(
                "the guaranteed lane is not available; use hot, and wire what must survive to uplink"
            )
        return lane


class RackEntry(_Part):
    """A Rack: what it reads, how signals flow, and where they go."""

    rack: Annotated[str, AfterValidator(_rack_name), Field(json_schema_extra={"pattern": RACK_NAME})]
    """The Rack's name: up to 32 of a-z, 0-9 and '-'."""
    uns: UnsPath
    """The UNS path of what the Rack serves: `acme/lyon/stamping/line-3`."""
    snake: SnakeEntry | None = Field(default=None, json_schema_extra={"x-type": "mapping, see snake"})
    """The link to the Mixer; absent: the Rack runs alone and keeps its stream."""
    store: StoreEntry = Field(default=StoreEntry(), json_schema_extra={"x-type": "mapping, see store"})
    """What the leaf keeps on its disk, and what happens when that is full."""
    gears: dict[str, Any] = Field(min_length=1, json_schema_extra={"x-type": "mapping of name to gear"})
    """The gears by name; a gear has the keys of every gear and those of its kind."""
    wires: list[Any] = Field(min_length=1, json_schema_extra={"x-type": "list of wires"})
    """What flows where: each `from -> to`, or a mapping with settings."""

    @field_validator("snake", mode="before")
    @classmethod
    def _meant(cls, snake: object) -> object:
        if snake is None:
            raise ValueError("write snake: {} for a link to the Mixer, or leave it out to run alone")
        return snake


class GearEntry(BaseModel):
    """What every gear has, whatever its kind; the rest is the kind's own."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    kind: str
    """Which kind of gear: see `fluxrig gears`."""
    uns: UnsPath | SkipJsonSchema[None] = None
    """Where the asset stands below the Rack's UNS path; the gear's name if absent."""
    process_timeout: Seconds = DEFAULT_TIMEOUT_S
    """How long the gear may take for one batch before the engine gives up on it."""
    isolate: Isolation = "none"
    """Where the gear runs: in the Rack's own process, or with `process` in a worker process of its own, where
    it can't hold up the other gears, nor take the Rack with it when it crashes."""


def gear_name_fault(name: str) -> str | None:
    """Say what is wrong with a gear's name, or None."""
    if name == UPLINK:
        return f"{UPLINK!r} is built in; give this gear another name"
    if not re.fullmatch(GEAR_NAME, name):
        return f"the gear name {name[:64]!r} is not made of letters, digits, '-' and '_' (up to 64)"
    return None
