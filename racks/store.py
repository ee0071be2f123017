"""The store of a Rack's leaf: opened as the Rack file asks, watched, and honest about what it lost.

What left the store before the Mixer had it, by the Rack file's policy or by a damaged disk, is said in the
stream itself: a `fluxrig.event/1` named `store.dropped` or `store.lost` with the leaf's numbers that are
concerned. So the audit can tell each gap in the numbers of a leaf from a message that went astray.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fluxrig.bus import (
    DEAD,
    UNS,
    Bus,
    Leaf,
    LeafLimits,
    LeafRecord,
    Loss,
    Parcel,
    Publisher,
    drop_index,
    ensure_leaf_streams,
    mend_leaf_streams,
    record_path,
    stream_limits,
)
from fluxrig.codec import encode
from fluxrig.errors import BusError
from fluxrig.gear import Context
from fluxrig.rackfile.model import StoreSpec
from fluxrig.tasks import end
from fluxrig.uns import to_subject

WATCH_S: Final = 1.0
AGE_S: Final = 5.0
"""How often the oldest message that waits is looked for."""
TELL_S: Final = 60.0
"""How often drops that go on are told."""

log = logging.getLogger("fluxrig.rack")


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """How one stream of the leaf is. Messages are fluxMsgs."""

    bytes: int
    limit: int
    backlog: int
    """Messages that the Mixer does not have in Parquet."""
    backlog_bytes: int
    """Their share of `bytes`, estimated."""
    oldest: str | None
    """When the oldest of them was stored, RFC 3339; None where nothing waits, or it is not known yet."""
    dropped: int
    """Messages dropped by policy before the Mixer confirmed them, over the life of the store."""
    lost: int
    """Messages that the disk lost before the Mixer confirmed them, over the life of the store."""
    waiting: str | None
    """Why nothing can be stored at the moment."""


class Store:
    """The streams of one leaf, and what is known of them."""

    def __init__(self, spec: StoreSpec, leaf: Leaf, bus: Bus, context: Context) -> None:
        """`context` is that of the sink: events are in its name."""
        self.spec = spec
        self.health: dict[str, StreamHealth] = {}
        self.leaf = leaf
        self.leaf_bus = bus
        self._context = context
        self.records = {
            stream: LeafRecord.load(record_path(leaf.store_dir, stream)) for stream in (UNS, DEAD)
        }
        synced = spec.sync == "always"
        self.publishers = {
            stream: Publisher(bus, stream, record=record, synced=synced)
            for stream, record in self.records.items()
        }
        self._oldest: dict[str, tuple[float, str | None]] = {}
        self._told_at = 0.0
        self._dropped = {stream: record.dropped for stream, record in self.records.items()}

    async def open(self) -> None:
        """Bring the streams to what the Rack file asks for, and read where they end."""
        if mended := await mend_leaf_streams(self.leaf_bus, self.leaf.store_dir):
            log.error("the description of %s was damaged; it is put back from its copy", " and ".join(mended))
            self.leaf.kill()
        limits = LeafLimits(self.spec.max_bytes, self.spec.max_age_s, self.spec.when_full == "drop_oldest")
        await ensure_leaf_streams(self.leaf_bus, self._context.rack, self.leaf.store_dir, limits)
        for publisher in self.publishers.values():
            await publisher.open()
        if self._cut_off_damage():
            for publisher in self.publishers.values():
                await publisher.open()

    @property
    def leaves(self) -> dict[str, str]:
        """The ids under which numbers are given out, by stream."""
        return {stream: publisher.leaf for stream, publisher in self.publishers.items()}

    async def watch(self, committed: Mapping[str, int] | None) -> None:
        """Look after the streams until cancelled; `committed` says how far the Mixer has them."""
        telling: asyncio.Task[None] | None = None
        try:
            while True:
                await self.look(committed)
                if telling is None or telling.done():  # it waits as long as nothing can be stored
                    telling = asyncio.create_task(self._tell())
                await asyncio.sleep(WATCH_S)
        finally:
            if telling is not None:
                await end([telling])

    async def look(self, committed: Mapping[str, int] | None) -> None:
        """See how the streams are. While the leaf is away, what was seen last stays."""
        self._cut_off_damage()
        for stream in self.publishers:
            try:
                await self._look(stream, committed)
            except BusError as error:
                log.debug("can't look at %s now: %s", stream, error)

    def _cut_off_damage(self) -> bool:
        """Have the server begin anew behind what it can't read, if anything was found damaged."""
        damaged = [publisher for publisher in self.publishers.values() if publisher.damaged]
        for publisher in damaged:
            log.error(
                "files of %s are damaged; they are read anew, and cut where that ends", publisher.stream
            )
            with suppress(OSError):
                drop_index(self.leaf.store_dir, publisher.stream)
            publisher.damaged = False
        if damaged:
            self.leaf.kill()
        return bool(damaged)

    async def close(self) -> None:
        for publisher in self.publishers.values():
            await publisher.close()

    async def _look(self, stream: str, committed: Mapping[str, int] | None) -> None:
        """See what the stream holds, note what it dropped, and keep the record up."""
        publisher, record = self.publishers[stream], self.records[stream]
        used, limit = await stream_limits(self.leaf_bus, stream)
        oldest = await publisher.oldest()
        # Asked for last: what was trimmed before `oldest` was confirmed by then.
        confirmed = committed[stream] if committed else 0
        record.confirmed = max(record.confirmed, min(confirmed, publisher.next_number))
        front = oldest.number if oldest and oldest.leaf == publisher.leaf else 0
        gone_from = max(record.front, record.confirmed)
        if front > gone_from:
            record.add(Loss(publisher.leaf, gone_from, front - 1, self._policy(used, limit)))
        record.front = max(record.front, front)
        backlog = publisher.next_number - max(record.confirmed, record.front)
        held = publisher.next_number - front
        self.health[stream] = StreamHealth(
            bytes=used,
            limit=limit,
            backlog=backlog,
            backlog_bytes=used * backlog // held if held else 0,
            oldest=await self._oldest_waiting(publisher, record.confirmed) if backlog else None,
            dropped=record.dropped,
            lost=record.lost,
            waiting=publisher.waiting,
        )
        with suppress(OSError):
            await asyncio.to_thread(record.save)

    def _policy(self, used: int, limit: int) -> str:
        """Say by which rule messages left: nothing but age takes any from a store that is not full."""
        if self.spec.when_full == "drop_oldest" and (self.spec.max_age_s is None or used > limit // 2):
            return "max_bytes"
        return "max_age" if self.spec.max_age_s is not None else "disk"

    async def _oldest_waiting(self, publisher: Publisher, number: int) -> str | None:
        now_s = asyncio.get_running_loop().time()
        looked_s, oldest = self._oldest.get(publisher.stream, (-AGE_S, None))
        if now_s - looked_s >= AGE_S:
            found = await publisher.find(number)
            oldest = found.time if found else None
            self._oldest[publisher.stream] = now_s, oldest
        return oldest

    async def _tell(self) -> None:
        """Put what was lost into the stream, as events; drops that go on only now and then."""
        now_s = asyncio.get_running_loop().time()
        dropped = {stream: record.dropped for stream, record in self.records.items()}
        goes_on, self._dropped = dropped != self._dropped, dropped
        if goes_on and now_s - self._told_at < TELL_S:
            return
        for stream, record in self.records.items():
            if record.untold:
                parcels = [self._event(stream, loss) for loss in record.untold]
                told = len(parcels)
                await self.publishers[UNS].store(parcels)
                del record.untold[:told]
                self._told_at = now_s

    def _event(self, stream: str, loss: Loss) -> Parcel:
        kind = "lost" if loss.reason == "disk" else "dropped"
        why = {
            "disk": "the leaf's disk lost them",
            "max_age": "they were older than max_age",
            "max_bytes": "the store was full",
        }[loss.reason]
        detail = f"{loss.count} messages left the store before the Mixer confirmed them: {why}"
        log.warning("%s %s: %s (numbers %d to %d)", stream, kind, detail, loss.first, loss.last)
        event = self._context.event(
            f"store.{kind}",
            detail,
            stream=stream,
            leaf=loss.leaf,
            first=loss.first,
            last=loss.last,
            reason=loss.reason,
        )
        return Parcel(to_subject(self._context.uns), encode(event), 1)
