"""What a checked Rack file says, ready for the engine. Made by `fluxrig.rackfile.load` alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from fluxrig.gear import GearConfig

WhenFull: TypeAlias = Literal["block", "drop_oldest"]
Isolation: TypeAlias = Literal["none", "process"]

DEFAULT_QUEUE = 10_000
"""Messages that a wire holds when nothing else is said."""
DEFAULT_TIMEOUT_S = 30.0
"""How long one `process` call may take when nothing else is said."""
DEFAULT_STORE_BYTES = 8 << 30
"""What a leaf keeps when nothing else is said."""

UPLINK = "uplink"
"""The built-in sink: a message is accepted once the leaf's stream has stored it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One port of one gear."""

    gear: str
    port: str

    def __str__(self) -> str:
        return f"{self.gear}.{self.port}"


@dataclass(frozen=True, slots=True)
class WireSpec:
    """One wire from an output to an input. `queue` counts messages."""

    source: Endpoint
    target: Endpoint
    queue: int
    when_full: WhenFull


@dataclass(frozen=True, slots=True)
class GearSpec:
    """One gear of a Rack."""

    name: str
    kind: str
    uns: str
    config: GearConfig
    timeout_s: float
    """How long one `process` call may take before the engine gives up on it."""
    isolate: Isolation = "none"
    """Whether the gear runs in the Rack's own process, or in a worker process of its own."""


@dataclass(frozen=True, slots=True)
class SnakeSpec:
    """How to reach the Mixer, and how to be let in."""

    host: str = ""
    """Where it is, if not where the join token and the Mixer say."""
    port: int = 0
    """Its leaf port, likewise."""
    join_file: Path | None = None
    """File with the join token."""
    join: str = field(default="", repr=False)
    """The join token itself, from the environment."""


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """What the leaf keeps of what it accepted, until the Mixer has it."""

    max_bytes: int = DEFAULT_STORE_BYTES
    max_age_s: float | None = None
    when_full: WhenFull = "block"
    sync: str = "always"
    """`always`, or an interval as nats-server reads it."""


@dataclass(frozen=True, slots=True)
class RackSpec:
    """A whole Rack."""

    name: str
    uns: str
    snake: SnakeSpec | None
    gears: Mapping[str, GearSpec]
    wires: tuple[WireSpec, ...]
    store: StoreSpec = StoreSpec()
