"""Time as a value that can be replaced, so that tests never wait."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What code asks for time. `fluxrig.testing.ManualClock` is the other implementation."""

    def now_ns(self) -> int:
        """Wall clock, ns since the Unix epoch."""

    def monotonic_ns(self) -> int:
        """A clock that never steps, ns since an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Wait. Zero or less still yields to other tasks once."""


class SystemClock:
    """The machine's own clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
