"""What is known of one gear at work: its state, its counters, what went wrong last."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fluxrig.errors import FluxrigError


class State(StrEnum):
    """Where a gear is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting to try again"
    ENDED = "at its end"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(slots=True)
class Counters:
    """What one gear has done since the Rack started, in messages unless said otherwise."""

    received: int = 0
    emitted: int = 0
    rejected: int = 0
    errors: int = 0
    """Failures of the gear itself."""
    opened: int = 0
    """Times the gear was opened."""
    process_s: float = 0.0


@dataclass(slots=True)
class Record:
    """Shared by the parts of a node."""

    state: State = State.STARTING
    counters: Counters = field(default_factory=Counters)
    last_error: str = ""

    def failure(self, error: BaseException) -> None:
        """Note that the gear itself failed."""
        self.counters.errors += 1
        self.last_error = reason_of(error)


def reason_of(error: BaseException) -> str:
    """Our own errors speak for themselves; anything else is named by its type."""
    text = str(error)
    if isinstance(error, FluxrigError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
