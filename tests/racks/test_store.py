"""The store of a leaf keeps to the Rack file's policy, and each message that left it early is told."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxrig.bus import DEAD, UNS, Leaf, LeafRecord, Parcel, record_path
from fluxrig.codec import decode_sequence
from fluxrig.gear import Context
from fluxrig.rackfile.model import StoreSpec
from racks.store import Store
from racks.trim import keep_trimming, kept_bytes
from tests.fluxrig.bus.ledger import read_all

SUBJECT = "fluxrig.uns.acme.lyon.press"
SMALL = 4 << 20


@asynccontextmanager
async def opened(
    folder: Path, spec: StoreSpec, committed: dict[str, int] | None = None
) -> AsyncIterator[Store]:
    """A store as a running Rack has it."""
    context = Context(rack="press", gear="uplink", uns="acme/lyon", log=logging.getLogger("test"))
    async with Leaf("press", folder / "leaf", sync="1s") as leaf, await leaf.connect("test") as bus:
        store = Store(spec, leaf, bus, context)
        await store.open()
        watching = asyncio.create_task(store.watch(committed))
        yield store
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await store.close()


def parcels(start: int, count: int, size: int = 50_000) -> list[Parcel]:
    return [Parcel(SUBJECT, b"%d " % number + bytes(size), 1) for number in range(start, start + count)]


async def until(condition: Callable[[], Any], limit_s: float = 15.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the watch polls
            await asyncio.sleep(0.02)


async def events(store: Store) -> list[dict[str, Any]]:
    """The events of the store in its own stream."""
    stored = await read_all(store.leaf_bus, UNS)
    own = [one for one in stored if one.subject == "fluxrig.uns.acme.lyon"]
    return [dict(message.data) for one in own for message in decode_sequence(one.payload)]


async def test_what_drop_oldest_drops_is_counted_and_told_by_number(tmp_path: Path) -> None:
    """The numbers that left, neither more nor fewer, are in an event in the stream; the rest is there."""
    async with opened(tmp_path, StoreSpec(SMALL, when_full="drop_oldest", sync="1s")) as store:
        await store.publishers[UNS].store(parcels(0, 200))
        await until(lambda: store.health and store.health[UNS].dropped > 100)
        await until(lambda: not store.records[UNS].untold)
        stored = await read_all(store.leaf_bus, UNS)
        numbers = [int(one.headers["Fluxrig-Seq"]) for one in stored]
        told = await events(store)
        assert numbers == list(range(numbers[0], 200 + len(told)))
        assert {(event["event"], event["reason"]) for event in told} == {("store.dropped", "max_bytes")}
        assert {event["leaf"] for event in told} == {store.leaves[UNS]}
        firsts, lasts = [event["first"] for event in told], [event["last"] for event in told]
        assert firsts == [0, *(last + 1 for last in lasts[:-1])]
        assert lasts[-1] in (numbers[0] - 1, numbers[0] - 2)  # the event itself may have cost one more
        assert store.health[UNS].dropped >= lasts[-1] + 1
        assert store.health[UNS].bytes <= SMALL


async def test_block_drops_nothing_and_says_why_it_waits(tmp_path: Path) -> None:
    """A full store makes its source wait and says so; when the Mixer has some of it, it goes on."""
    committed = {UNS: 0, DEAD: 0}
    async with opened(tmp_path, StoreSpec(SMALL, sync="1s"), committed) as store:
        publisher = store.publishers[UNS]
        storing = asyncio.create_task(publisher.store(parcels(0, 150)))
        await until(lambda: store.health and store.health[UNS].waiting)
        assert "maximum bytes" in str(store.health[UNS].waiting)
        assert not storing.done()
        assert store.health[UNS].backlog == publisher.next_number
        assert store.health[UNS].oldest
        mixer = _Mixer(committed)
        trimming = asyncio.create_task(
            keep_trimming(mixer, store.publishers.values(), kept_bytes(SMALL), 0.05)  # type: ignore[arg-type]
        )
        while not storing.done():
            committed[UNS] = publisher.next_number
            await asyncio.sleep(0.05)
        await storing
        trimming.cancel()
        await asyncio.gather(trimming, return_exceptions=True)
        await until(lambda: store.health[UNS].waiting is None)
        assert (store.health[UNS].dropped, store.health[UNS].lost) == (0, 0)
        assert await events(store) == []


async def test_what_is_trimmed_while_the_store_is_looked_at_is_not_lost(tmp_path: Path) -> None:
    """The Mixer confirms messages, and they are trimmed, between two questions of one look."""
    committed = {UNS: 0, DEAD: 0}
    async with opened(tmp_path, StoreSpec(SMALL, sync="1s")) as store:
        publisher = store.publishers[UNS]
        await publisher.store(parcels(0, 20, 100))
        ask = publisher.oldest

        async def oldest() -> Any:
            committed[UNS] = 20
            await publisher.release(20)
            return await ask()

        publisher.oldest = oldest  # type: ignore[method-assign]
        await store.look(committed)
        assert (store.health[UNS].dropped, store.health[UNS].lost) == (0, 0)


async def test_a_small_disk_is_trimmed_whatever_the_file_allows(tmp_path: Path) -> None:
    """The disk may allow less than the Rack file: what is kept is a part of what the stream may hold."""
    async with opened(tmp_path, StoreSpec(SMALL, sync="1s")) as store:
        publisher = store.publishers[UNS]
        await publisher.store(parcels(0, 60))
        await publisher.release(60, keep_bytes=kept_bytes(8 << 30))
        await store.look({UNS: 60, DEAD: 0})
        assert store.health[UNS].bytes < SMALL // 8


class _Mixer:
    def __init__(self, committed: dict[str, int]) -> None:
        self.committed = committed


async def test_what_is_too_old_is_dropped_and_told(tmp_path: Path) -> None:
    """`max_age` takes what waited too long, and an event names the numbers."""
    async with opened(tmp_path, StoreSpec(max_age_s=1.0, sync="1s")) as store:
        await store.publishers[UNS].store(parcels(0, 20, 10))
        await until(lambda: store.health and store.health[UNS].backlog == 20)
        await asyncio.sleep(1.0)  # what is waited for is age
        await store.publishers[UNS].store(parcels(20, 1, 10))
        await until(lambda: store.health[UNS].dropped >= 20)
        await until(lambda: not store.records[UNS].untold)
        (event, *_) = await events(store)
        assert (event["reason"], event["first"], event["last"]) == ("max_age", 0, 19)


async def test_a_changed_policy_reaches_the_streams_that_are_there(tmp_path: Path) -> None:
    """Limits, age and what happens when full follow the Rack file; blocking never drops what is held."""
    async with opened(tmp_path, StoreSpec(SMALL, sync="1s")) as store:
        await store.publishers[UNS].store(parcels(0, 60))
    for spec, limits in (
        (StoreSpec(8 << 20, 3600.0, "drop_oldest", "1s"), (8 << 20, 3600 * 10**9, "old")),
        (StoreSpec(16 << 20, sync="1s"), (16 << 20, 0, "new")),
    ):
        async with opened(tmp_path, spec) as store:
            config = (await store.leaf_bus.api("STREAM.INFO.UNS"))["config"]
            assert (config["max_bytes"], config.get("max_age", 0), config["discard"]) == limits
    async with opened(tmp_path, StoreSpec(1 << 20, sync="1s")) as store:
        info = await store.leaf_bus.api("STREAM.INFO.UNS")
        assert info["state"]["messages"] == 60
        assert info["config"]["max_bytes"] == info["state"]["bytes"] > 1 << 20


def cut_the_end(folder: Path) -> None:
    block = max(folder.glob("leaf/jetstream/*/streams/UNS/msgs/*.blk"), key=lambda path: int(path.stem))
    os.truncate(block, block.stat().st_size - 1000)


async def test_a_loss_on_the_disk_is_told_with_its_numbers(tmp_path: Path) -> None:
    """After the last block was cut the Rack runs under a new leaf id, and an event names what is gone."""
    async with opened(tmp_path, StoreSpec(sync="1s")) as store:
        await store.publishers[UNS].store(parcels(0, 100))
        before = store.leaves[UNS]
    cut_the_end(tmp_path)
    async with opened(tmp_path, StoreSpec(sync="1s")) as store:
        await until(lambda: store.health and not store.records[UNS].untold)
        (event,) = await events(store)
        assert (event["event"], event["reason"], event["leaf"]) == ("store.lost", "disk", before)
        assert (event["first"], event["last"]) == (99, 99)
        assert store.leaves[UNS] != before
        assert store.health[UNS].lost == 1


async def test_losses_that_were_not_told_yet_are_told_after_a_restart(tmp_path: Path) -> None:
    """A Rack that is killed between a drop and its event tells it when it runs again."""
    async with opened(tmp_path, StoreSpec(SMALL, when_full="drop_oldest", sync="1s")) as store:
        leaf = store.leaves[UNS]
    record = LeafRecord.load(record_path(tmp_path / "leaf", UNS))
    path = record.path
    text = path.read_text().replace(
        '"untold": []', f'"untold": [{{"leaf": "{leaf}", "first": 3, "last": 9, "reason": "max_bytes"}}]'
    )
    path.write_text(text)
    async with opened(tmp_path, StoreSpec(SMALL, when_full="drop_oldest", sync="1s")) as store:
        await until(lambda: not store.records[UNS].untold)
        (event,) = await events(store)
        assert (event["first"], event["last"]) == (3, 9)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"untold": 3}', '{"untold": [], "holes": [[1]]}'])
async def test_a_record_that_makes_no_sense_stops_nothing(tmp_path: Path, text: str) -> None:
    """A damaged record is as good as none: the Rack starts and writes a new one."""
    async with opened(tmp_path, StoreSpec(sync="1s")) as store:
        await store.publishers[UNS].store(parcels(0, 3, 10))
    path = record_path(tmp_path / "leaf", UNS)
    path.write_text(text)
    async with opened(tmp_path, StoreSpec(sync="1s")) as store:
        await store.publishers[UNS].store(parcels(3, 3, 10))
        assert store.publishers[UNS].next_number == 6
    assert LeafRecord.load(path).next_number == 6


async def test_what_is_stored_after_a_damage_does_not_go_with_it(tmp_path: Path) -> None:
    """nats-server would go on behind the bytes that it can't read, and pass over all of it one day."""
    spec = StoreSpec(4 * SMALL, sync="1s")
    async with opened(tmp_path, spec) as store:
        await store.publishers[UNS].store(parcels(0, 20))
        await store.publishers[UNS].release(19)
        await store.publishers[UNS].store(parcels(20, 60))
    block = max((tmp_path / "leaf").glob("jetstream/*/streams/UNS/msgs/*.blk"), key=lambda one: int(one.stem))
    with block.open("r+b") as file:
        file.seek(block.stat().st_size // 2)
        file.write(b"\xff" * 5000)
    async with opened(tmp_path, spec) as store:
        await store.publishers[UNS].store(parcels(1000, 50, 5000))
        leaf, lost = store.leaves[UNS], store.records[UNS].lost
        assert lost > 0
    async with opened(tmp_path, spec) as store:
        await store.publishers[UNS].store(parcels(2000, 5, 5000))
        assert (store.leaves[UNS], store.records[UNS].lost) == (leaf, lost)
        stored = [
            int(one.payload.split(b" ")[0])
            for one in await read_all(store.leaf_bus, UNS)
            if one.subject == SUBJECT
        ]
        assert stored[-55:] == [*range(1000, 1050), *range(2000, 2005)]
