"""Signs that a device suffers from being asked. Pure."""

from __future__ import annotations

from statistics import median
from typing import Final

IN_A_ROW: Final = 3
"""Failures of one kind, one behind the other, that are a sign."""
BASELINE: Final = 10
"""Answers that show how quick the device is by itself."""
SLOWER: Final = 5.0
"""How many times slower the latest answers may be than the first."""
SLOW_MS: Final = 100.0
"""Below this nothing counts as slow."""


class DistressError(Exception):
    """The device should be left alone. The text says why."""


class Distress:
    """Watches answers, and raises DistressError at the first sign."""

    def __init__(self) -> None:
        self._latencies_ms: list[float] = []
        self._refused = 0
        self._lost = 0

    def answered(self, latency_ms: float) -> None:
        """Note an answer, also one that is an exception."""
        self._refused = self._lost = 0
        self._latencies_ms.append(latency_ms)
        latest = self._latencies_ms[-IN_A_ROW:]
        if len(self._latencies_ms) >= BASELINE + IN_A_ROW:
            usual = median(self._latencies_ms[:BASELINE])
            if min(latest) > max(SLOW_MS, SLOWER * usual):
                raise DistressError(f"its answers take {min(latest):.0f} ms instead of {usual:.0f}")

    def refused(self, why: str) -> None:
        """Note that the device is busy, or that its gateway does not reach it any more."""
        self._refused += 1
        if self._refused >= IN_A_ROW:
            raise DistressError(f"it answers {why}, again and again")

    def lost(self, why: str) -> None:
        """Note that a device which had answered before did not, or closed the connection."""
        self._lost += 1
        if self._lost >= IN_A_ROW:
            raise DistressError(f"it stopped answering: {why}")
