"""The shape of a Rack file: what stands around the gears' own settings."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from fluxrig.duration import Seconds, parse_duration
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
RACK_NAME: Final = "^[a-z0-9][a-z0-9-]{0,31}$"
GEAR_NAME: Final = "^[A-Za-z0-9_-]{1,64}$"
SMALLEST_STORE_BYTES: Final = 1 << 20
LONGEST_SYNC_S: Final = 120.0
HOST: Final = (
    r"^(?P<host>[A-Za-z0-9]([A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?$"
)


def _rack_name(name: str) -> str:
    if not re.fullmatch(RACK_NAME, name):
        raise ValueError("a Rack's name has up to 32 of a-z, 0-9 and '-', and begins with a letter or digit")
    return name


def _uns_path(path: str) -> str:
    if fault := path_fault(path):
        raise ValueError(fault)
    return path


def split_host(address: str) -> tuple[str, int]:
    """Give host and port of `host`, `host:port` or `[ipv6]:port`. Raises ValueError."""
    match = re.fullmatch(HOST, address)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65_536:
        raise ValueError(
            f"write the Mixer as host or host:port, without a scheme; the port is {DEFAULT_PORT} if absent"
        )
    return match["host"].strip("[]"), port


def _host(address: str) -> str:
    split_host(address)
    return address


UnsPath = Annotated[str, AfterValidator(_uns_path)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SnakeEntry(_Part):
    """The link to the Mixer."""

    mixer: Annotated[str, AfterValidator(_host)]
    """Where the Mixer is: `host` or `host:port`; the port is 7422 if absent."""
    token_file: str | None = Field(default=None, min_length=1, max_length=4096)
    """File with the token that Rack and Mixer share, relative to the Rack file. Absent: the environment
    variable FLUXRIG_SNAKE_TOKEN."""


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
