"""A clock that tests set."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class ManualClock:
    """Time stands still until `advance` moves it. Sleepers wake in the order of their time.

    `now_ns` starts at `start_ns`; `monotonic_ns` starts at 0.
    """

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._start_ns = start_ns
        self._elapsed_ns = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def now_ns(self) -> int:
        return self._start_ns + self._elapsed_ns

    def monotonic_ns(self) -> int:
        return self._elapsed_ns

    @property
    def sleepers(self) -> int:
        """How many tasks wait for this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def step_wall_clock(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator or NTP would."""
        self._start_ns += round(seconds * 1e9)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        wake_ns = self._elapsed_ns + round(seconds * 1e9)
        heapq.heappush(self._sleepers, (wake_ns, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time on, waking each sleeper at its own time and letting it run until it waits again."""
        end_ns = self._elapsed_ns + round(seconds * 1e9)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_ns:
            wake_ns, _, future = heapq.heappop(self._sleepers)
            self._elapsed_ns = max(self._elapsed_ns, wake_ns)
            if not future.done():
                future.set_result(None)
            await settle()
        self._elapsed_ns = end_ns


async def settle(rounds: int = 50) -> None:
    """Let every task that can run do so, `rounds` times. Enough where nothing waits for real I/O."""
    for _ in range(rounds):
        await asyncio.sleep(0)
