"""How each Rack says that it is, and how far its clock is off."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxrig.clock import Clock, SystemClock

MAX_RACKS: Final = 10_000
_SMOOTHING: Final = 0.2
"""The part of a new estimate of a clock's offset in what is told: one slow answer must not move it much."""
_ONLINE_NS: Final = 15_000_000_000
"""A Rack says something every second; one that was silent for this long is away."""

_Count = Annotated[int, Field(ge=0, lt=1 << 62)]
_Text = Annotated[str, Field(max_length=512)]


class Stream(BaseModel):
    """One stream of the Rack's leaf: see `racks.store.StreamHealth`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bytes: _Count = 0
    limit: _Count = 0
    backlog: _Count = 0
    backlog_bytes: _Count = 0
    oldest: _Text | None = None
    dropped: _Count = 0
    lost: _Count = 0
    waiting: _Text | None = None


class Told(BaseModel):
    """What a Rack says of its health; whatever else it says is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    streams: Annotated[dict[_Text, Stream], Field(max_length=8)] = {}
    failed: Annotated[list[_Text], Field(max_length=1000)] = []
    """Gears that stopped for good."""


class Heartbeat(BaseModel):
    """The part of a registration that is about health."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: _Text = ""
    clock_ns: _Count = 0
    rtt_ns: _Count = 0
    health: Told = Told()


@dataclass(slots=True)
class RackHealth:
    """One Rack as it said last. Times are ns since the Unix epoch."""

    last_seen_ns: int = 0
    version: str = ""
    clock_offset_ms: float | None = None
    """How far the Rack's clock is ahead of the Mixer's; None while it is not known."""
    told: Told = field(default_factory=Told)


class Health:
    """The Racks of one project."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._racks: dict[str, RackHealth] = {}

    def note(self, rack: str, payload: bytes) -> None:
        """Take the registration of a Rack that is known to be that one. What makes no sense is no news."""
        now_ns = self._clock.now_ns()
        if rack not in self._racks and len(self._racks) >= MAX_RACKS:
            return
        one = self._racks.setdefault(rack, RackHealth())
        one.last_seen_ns = now_ns
        try:
            beat = Heartbeat.model_validate_json(payload)
        except ValidationError:
            return
        one.version, one.told = beat.version, beat.health
        if beat.clock_ns and beat.rtt_ns:
            offset_ms = (beat.clock_ns + beat.rtt_ns // 2 - now_ns) / 1e6
            one.clock_offset_ms = _smooth(one.clock_offset_ms, offset_ms, beat.rtt_ns / 1e6)

    def of(self, rack: str) -> dict[str, Any]:
        """Give what is known of a Rack, as JSON may have it; of one that was not heard of, that alone."""
        one = self._racks.get(rack)
        if one is None:
            return {"online": False, "last_seen_ns": 0, "clock_offset_ms": None, "streams": {}, "failed": []}
        return {
            "online": self._clock.now_ns() - one.last_seen_ns < _ONLINE_NS,
            "last_seen_ns": one.last_seen_ns,
            "version": one.version,
            "clock_offset_ms": None if one.clock_offset_ms is None else round(one.clock_offset_ms, 1),
            **summary(one.told),
        }

    def behind_s(self, rack: str, now_ns: int) -> float | None:
        """Give how old the oldest message is that waits at a Rack; 0 where none does, None where unknown."""
        one = self._racks.get(rack)
        stream = one.told.streams.get("UNS") if one else None
        if stream is None or (stream.backlog and stream.oldest is None):
            return None
        if one is None or stream.oldest is None:
            return 0.0
        ahead_s = (one.clock_offset_ms or 0.0) / 1000  # its time is by the Rack's clock
        return round(max(0.0, now_ns / 1e9 - seconds(stream.oldest) + ahead_s), 1)


def summary(told: Told) -> dict[str, Any]:
    """Give what all streams of a Rack come to, and each of them."""
    streams = told.streams.values()
    oldest = min((one.oldest for one in streams if one.oldest), default=None, key=seconds)
    return {
        "backlog": sum(one.backlog for one in streams),
        "backlog_bytes": sum(one.backlog_bytes for one in streams),
        "oldest": oldest,
        "dropped": sum(one.dropped for one in streams),
        "lost": sum(one.lost for one in streams),
        "waiting": next((one.waiting for one in streams if one.waiting), None),
        "failed": list(told.failed),
        "streams": {name: one.model_dump() for name, one in told.streams.items()},
    }


def seconds(time: str) -> float:
    """Give an RFC 3339 time as seconds since the Unix epoch; 0 for what is none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _smooth(before: float | None, now: float, uncertainty: float) -> float:
    """Follow a step of the clock at once, and what may be the network's doing only slowly."""
    if before is None or abs(now - before) > max(50.0, uncertainty):
        return now
    return before + _SMOOTHING * (now - before)
