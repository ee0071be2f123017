"""Lets a leaf forget what the Mixer has in Parquet, so that its share of the disk is for outages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from fluxrig.bus import Publisher
from fluxrig.errors import BusError
from racks.snake import Snake

KEEP_BYTES: Final = 256 << 20
"""What a leaf keeps of each stream all the same: the last way back if the Mixer loses its disk."""
EVERY_S: Final = 2.0


def kept_bytes(max_bytes: int) -> int:
    """Give what a store of that size keeps: a full one must not hold back what is new for what is safe."""
    return min(KEEP_BYTES, max_bytes // 8)


log = logging.getLogger("fluxrig.rack")


async def keep_trimming(
    snake: Snake, publishers: Collection[Publisher], keep_bytes: int = KEEP_BYTES, every_s: float = EVERY_S
) -> None:
    """Trim the leaf's streams until cancelled. An outage of the leaf only puts it off."""
    while True:
        for publisher in publishers:
            try:
                await publisher.release(snake.committed[publisher.stream], keep_bytes)
            except BusError as error:
                log.debug("can't trim %s now: %s", publisher.stream, error)
        await asyncio.sleep(every_s)
