"""What Racks send in `fluxrig bench snake`, and what came of it, read back from the streams."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Final

from fluxrig.bus import UNS, Bus, Consumer, stream_state
from fluxrig.bus.headers import COUNT, SEQ
from fluxrig.cli.bench.snake_site import Member
from fluxrig.errors import FluxrigError
from fluxrig.gear import IN
from fluxrig.message import TAGS, FluxMsg, new_id

PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.005
_FETCH: Final = 1000


class Source:
    """Makes readings of the assets of one Rack, in turn, and has its uplink store them."""

    def __init__(self, rack: Member, assets: int = 1) -> None:
        self.made = 0
        self._rack = rack
        self._paths = [f"{rack.uns}/asset-{number}" for number in range(assets)]
        self._noise = random.Random(rack.name)  # noqa: S311 - readings, the same in each run

    async def store(self, messages: int) -> None:
        """Store one batch, evenly over the assets: a parcel for each. FluxrigError when the leaf is stuck."""
        ts = time.time_ns()
        each = -(-messages // len(self._paths))
        batch = tuple(self._reading(self._paths[index // each], ts + index) for index in range(messages))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._rack.uplink.process(batch, IN)
        except TimeoutError:
            why = self._rack.publisher.waiting or "it does not answer"
            raise FluxrigError(f"{self._rack.name} has stored nothing for {PATIENCE_S:g} s: {why}") from None
        self.made += messages

    async def flood(self, seconds: float, batch: int) -> None:
        """Store as much as the leaf takes for some seconds."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await self.store(batch)

    async def pace(self, seconds: float, batch: int, every_s: float) -> None:
        """Store a batch at a fixed interval. What comes late is made up for."""
        start = time.perf_counter()
        for turn in range(round(seconds / every_s)):
            await asyncio.sleep(max(0.0, start + turn * every_s - time.perf_counter()))
            await self.store(batch)

    def _reading(self, path: str, ts: int) -> FluxMsg:
        noise = self._noise
        data = {
            "pressure": noise.gauss(4.2, 0.1),
            "temperature": noise.gauss(41.0, 0.5),
            "running": noise.random() < 0.99,
            "spm": noise.randrange(58, 62),
        }
        src = f"{self._rack.name}/press"
        return FluxMsg(id=new_id(ts), ts=ts, src=src, uns=path, schema=TAGS, data=data)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One parcel in a stream: the number of its first message, how many it has, and when it was stored."""

    number: int
    count: int
    time_ns: int


async def wait_for(bus: Bus, parcels: int) -> None:
    """Wait until the hub's stream holds so many parcels. FluxrigError when it doesn't get there."""
    deadline = time.perf_counter() + PATIENCE_S
    while (held := (await stream_state(bus, UNS)).messages) < parcels:
        if time.perf_counter() > deadline:
            raise FluxrigError(f"the hub has {held} of {parcels} parcels after {PATIENCE_S:g} s")
        await asyncio.sleep(_LOOK_S)


async def arrivals(bus: Bus, start_seq: int, parcels: int) -> list[Arrival]:
    """Read so many parcels of a stream, from `start_seq` on (0: its first one)."""
    consumer = Consumer(bus, UNS, "bench", start_seq, forget_after_s=60.0)
    found: list[Arrival] = []
    try:
        while len(found) < parcels:
            batch = await consumer.fetch(min(_FETCH, parcels - len(found)), PATIENCE_S)
            if not batch:
                raise FluxrigError(f"only {len(found)} of {parcels} parcels can be read")
            found += [Arrival(int(one.headers[SEQ]), int(one.headers[COUNT]), one.time_ns) for one in batch]
            await consumer.ack_through(batch[-1].seq)
    finally:
        await consumer.close()
    return found


def check(found: list[Arrival], first: int, messages: int) -> None:
    """Hold what came of one Rack against what it stored. FluxrigError: lost, doubled or out of order."""
    due = first
    for one in found:
        if one.number != due:
            raise FluxrigError(f"message {one.number} came to the hub where {due} was due")
        due += one.count
    if due != first + messages:
        raise FluxrigError(f"{due - first} messages came to the hub, {messages} were stored")
