"""How punctually polls began, as a histogram that a message can carry. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from gears.io_modbus.metrics import JITTER_S

SHARES: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


class Punctuality:
    """Polls that began, and how late those did that had a tick to wait for."""

    def __init__(self) -> None:
        self.polls = self.overruns = self.skipped = 0
        self.worst_s = 0.0
        self._counts = [0] * (len(JITTER_S) + 1)
        """By bucket: up to each bound, and the last beyond them all."""

    def on_time(self, late_s: float) -> None:
        """Note a poll that was waited for, and how late it began."""
        self.polls += 1
        self.worst_s = max(self.worst_s, late_s)
        self._counts[bisect_left(JITTER_S, late_s)] += 1

    def overrun(self, skipped: int) -> None:
        """Note a poll that began when the one before it ended, after so many ticks without any."""
        self.polls += 1
        self.overruns += 1
        self.skipped += skipped

    @classmethod
    def together(cls, parts: Iterable[Punctuality]) -> Punctuality:
        """Add up."""
        whole = cls()
        for part in parts:
            whole.polls += part.polls
            whole.overruns += part.overruns
            whole.skipped += part.skipped
            whole.worst_s = max(whole.worst_s, part.worst_s)
            whole._counts = [sum(pair) for pair in zip(whole._counts, part._counts, strict=True)]
        return whole

    def within_s(self, share: float) -> float:
        """Give the bound that this share of the polls did not exceed."""
        waiting = share * sum(self._counts)
        for bound_s, count in zip(JITTER_S, self._counts, strict=False):
            waiting -= count
            if waiting <= 0:
                return min(bound_s, self.worst_s)
        return self.worst_s

    def facts(self) -> dict[str, Any]:
        """Give what a message tells: counts; jitter in ms; and how many polls began within each bound, ms."""
        jitter_ms = {name: _ms(self.within_s(share)) for name, share in SHARES.items()}
        buckets = zip([*map(_ms, JITTER_S), None], self._counts, strict=True)
        return {
            "polls": self.polls,
            "overruns": self.overruns,
            "skipped": self.skipped,
            "jitter_ms": {**jitter_ms, "max": _ms(self.worst_s)},
            "histogram": [{"up_to_ms": bound, "polls": count} for bound, count in buckets if count],
        }

    def __str__(self) -> str:
        return (
            f"{self.polls:,} polls, {self.overruns:,} overruns; 99 % began within "
            f"{_ms(self.within_s(0.99)):g} ms of their tick, the latest after {_ms(self.worst_s):g} ms"
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
