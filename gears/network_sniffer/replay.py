"""The pace of a replay: packets become due as far apart as they were captured."""

from __future__ import annotations

from collections.abc import Sequence

from fluxrig.clock import Clock
from gears.network_sniffer.packet import Packet


class Pace:
    """Counts from the first packet, so that errors do not add up."""

    def __init__(self, clock: Clock, speed: float = 1.0) -> None:
        """`speed`: how many times faster than captured."""
        self._clock = clock
        self._speed = speed
        self._first_ts = 0
        self._started_ns: int | None = None

    async def due(self, packets: Sequence[Packet], at: int, limit: int, rest_s: float) -> int:
        """Give how many packets from `at` are due, at most `limit`; 0 after having waited for `rest_s`."""
        if self._started_ns is None:
            self._started_ns, self._first_ts = self._clock.monotonic_ns(), packets[at].ts
        wait_s = (packets[at].ts - self._now()) / 1e9 / self._speed
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, rest_s))
        now = self._now()
        due = 0
        for packet in packets[at : at + limit]:
            if packet.ts > now:
                break
            due += 1
        return due

    def _now(self) -> int:
        """Give the time in the capture that it is now."""
        elapsed_ns = self._clock.monotonic_ns() - (self._started_ns or 0)
        return self._first_ts + round(elapsed_ns * self._speed)
