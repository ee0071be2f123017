"""Lets the hub forget what is in Parquet, so that its disk is for what is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fluxrig.bus import Bus, stream_limits, trim_source
from fluxrig.errors import BusError

KEEP_BYTES: Final = 1 << 30
"""The most that the hub keeps of each stream all the same, for whoever reads along."""
EVERY_S: Final = 2.0

_log = logging.getLogger("fluxrig.mixer")


async def keep_trimming(
    bus: Bus,
    racks: Callable[[], Iterable[tuple[str, str]]],
    streams: Sequence[str],
    committed_seq: Callable[[str], int],
    *,
    keep_bytes: int = KEEP_BYTES,
    every_s: float = EVERY_S,
) -> None:
    """Trim the hub's streams of what is committed until cancelled. An outage of the hub only puts it off.

    `racks` gives each Rack's name and UNS prefix. Of a stream with a limit no more than a quarter of that
    is kept: what is committed must not take the room of what is not.
    """
    while True:
        for stream in streams:
            try:
                used, limit = await stream_limits(bus, stream)
                if used > (keep_bytes if limit < 0 else min(keep_bytes, limit // 4)):
                    await _trim(bus, racks(), stream, committed_seq(stream) + 1)
            except BusError as error:
                _log.debug("can't trim %s now: %s", stream, error)
        await asyncio.sleep(every_s)


async def _trim(bus: Bus, racks: Iterable[tuple[str, str]], stream: str, before_seq: int) -> None:
    for rack, uns in list(racks):
        await trim_source(bus, stream, rack, uns, before_seq)
