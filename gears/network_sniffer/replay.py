"""The pace of a replay: packets become due as far apart as they were captured."""

from __future__ import annotations

from collections.abc import Sequence

from fluxrig.clock import Clock
from gears.network_sniffer.packet import Packet


class Pace:
    """Counts from the first packet, so that errors do not add up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ns: int | None = None

    async def due(self, packets: Sequence[Packet], at: int, limit: int, rest_s: float) -> int:
        """Give how many packets from `at` are due, at most `limit`; 0 after having waited for `rest_s`."""
        if self._offset_ns is None:
            self._offset_ns = self._clock.monotonic_ns() - packets[at].ts
        wait_s = (packets[at].ts + self._offset_ns - self._clock.monotonic_ns()) / 1e9
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, rest_s))
        now = self._clock.monotonic_ns() - self._offset_ns
        due = 0
        for packet in packets[at : at + limit]:
            if packet.ts > now:
                break
            due += 1
        return due
