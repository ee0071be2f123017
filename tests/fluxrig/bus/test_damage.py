"""A leaf whose files were damaged: it goes on, gives nothing out twice, and says what is gone."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxrig.bus import (
    Bus,
    Leaf,
    LeafLimits,
    LeafRecord,
    LeafRemote,
    Parcel,
    Publisher,
    add_source,
    ensure_leaf_streams,
    mend_leaf_streams,
    record_path,
    stream_state,
)

from .ledger import read_all

BLOCKS = 150  # parcels of 60 kB: several block files
LIMITS = LeafLimits(max_bytes=12 << 20)


def parcels(start: int, count: int, size: int = 60_000) -> list[Parcel]:
    return [
        Parcel("fluxrig.uns.acme.lyon.press", b"%d " % i + bytes(size), 1)
        for i in range(start, start + count)
    ]


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        data = file.read(64)
        file.seek(at)
        file.write(bytes(byte ^ 0xFF for byte in data))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def files(store: Path) -> tuple[Path, list[Path]]:
    """The folder of the stream's messages, and its block files in order."""
    folder = next(store.glob("jetstream/*/streams/UNS/msgs"))
    return folder, sorted(folder.glob("*.blk"), key=lambda path: int(path.stem))


Damage = Callable[[Path], None]
DAMAGES: dict[str, Damage] = {
    "a block that is gone": lambda store: files(store)[1][1].unlink(),
    "a block cut in half": lambda store: cut(files(store)[1][1]),
    "the last block cut in half": lambda store: cut(files(store)[1][-1]),
    "the last block that is gone": lambda store: files(store)[1][-1].unlink(),
    "flipped bytes in the first block": lambda store: flip(files(store)[1][0], 200),
    "flipped bytes in a block": lambda store: flip(files(store)[1][1], 500_000),
    "flipped bytes in the last block": lambda store: flip(files(store)[1][-1], 200_000),
    "no index": lambda store: (files(store)[0] / "index.db").unlink(),
    "flipped bytes in the index": lambda store: flip(files(store)[0] / "index.db", 20),
    "no index, and a last block cut in half": lambda store: (
        (files(store)[0] / "index.db").unlink(),
        cut(files(store)[1][-1]),
    )[1],
    "no description": lambda store: (files(store)[0].parent / "meta.inf").unlink(),
    "flipped bytes in the description": lambda store: flip(files(store)[0].parent / "meta.inf", 20),
    "no checksum of the description": lambda store: (files(store)[0].parent / "meta.sum").unlink(),
}


SILENT = (
    "a block cut in half",
    "flipped bytes in a block",
    "flipped bytes in the first block",
    "flipped bytes in the last block",
)
"""nats-server trusts its index, sees the damage when it reads, and passes over it: the numbers have a gap."""


async def fill(store: Path, remote: LeafRemote | None = None, count: int = BLOCKS) -> str:
    """Store parcels on a leaf, and give its id."""
    async with Leaf("press", store, remote, sync="1s") as leaf, await leaf.connect("test") as bus:
        await ensure_leaf_streams(bus, "press", store, LIMITS)
        publisher = Publisher(bus, "UNS", record=LeafRecord.load(record_path(store, "UNS")))
        await publisher.store(parcels(0, count))
        await publisher.close()
        return publisher.leaf


async def come_back(leaf: Leaf, bus: Bus) -> tuple[Publisher, LeafRecord]:
    """Open the store as a Rack does, and store some more."""
    if await mend_leaf_streams(bus, leaf.store_dir):
        leaf.kill()
    await ensure_leaf_streams(bus, "press", leaf.store_dir, LIMITS)
    record = LeafRecord.load(record_path(leaf.store_dir, "UNS"))
    publisher = Publisher(bus, "UNS", record=record)
    await publisher.open()
    await publisher.store(parcels(BLOCKS, 50, 10))
    return publisher, record


async def taken(hub_bus: Bus, last: int) -> list[tuple[str, int]]:
    """Wait for the parcel with that content in the hub, and give leaf and number of each, in order."""
    async with asyncio.timeout(30):
        while True:
            got = await read_all(hub_bus, "UNS") if (await stream_state(hub_bus, "UNS")).messages else []
            if got and int(got[-1].payload.split(b" ")[0]) == last:
                return [(m.headers["Fluxrig-Leaf"], int(m.headers["Fluxrig-Seq"])) for m in got]
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_the_disk_still_has_arrives_and_what_it_lost_is_told(
    remote: LeafRemote, hub_bus: Bus, tmp_path: Path, damage: str
) -> None:
    """0 lost of what can be read, 0 doubled, 0 out of order; each gap in the numbers is in the record."""
    store = tmp_path / "leaf"
    before = await fill(store)
    DAMAGES[damage](store)
    async with Leaf("press", store, remote, sync="1s") as leaf, await leaf.connect("test") as bus:
        publisher, record = await come_back(leaf, bus)
        await add_source(hub_bus, "UNS", "press", "acme/lyon")
        got = await taken(hub_bus, BLOCKS + 49)
        assert len(set(got)) == len(got)
        for _, numbers in itertools.groupby(got, lambda one: one[0]):
            run = [number for _, number in numbers]
            assert run == sorted(run)
        stored = BLOCKS + 50 if publisher.leaf == before else BLOCKS
        missing = set(range(stored)) - {number for id_, number in got if id_ == before}
        told = {n for loss in record.untold for n in range(loss.first, loss.last + 1) if loss.leaf == before}
        assert told <= missing
        if damage not in SILENT:
            assert told == missing
        if publisher.leaf != before:
            assert [n for id_, n in got if id_ == publisher.leaf] == list(range(50))


async def test_an_end_that_went_back_gives_no_sequence_out_twice(
    remote: LeafRemote, hub_bus: Bus, tmp_path: Path
) -> None:
    """The hub has taken all when the leaf loses its end; what comes then still reaches the hub, once."""
    store = tmp_path / "leaf"
    await add_source(hub_bus, "UNS", "press", "acme/lyon")
    before = await fill(store, remote)
    async with Leaf("press", store, remote, sync="1s"):
        await taken(hub_bus, BLOCKS - 1)
    folder, blocks = files(store)
    (folder / "index.db").unlink()
    cut(blocks[-1])
    async with Leaf("press", store, remote, sync="1s") as leaf, await leaf.connect("test") as bus:
        publisher, record = await come_back(leaf, bus)
        assert publisher.leaf != before
        assert record.lost > 0
        got = await taken(hub_bus, BLOCKS + 49)
        assert got == [(before, n) for n in range(BLOCKS)] + [(publisher.leaf, n) for n in range(50)]


async def test_a_first_message_that_cannot_be_read_stops_nothing(
    remote: LeafRemote, hub_bus: Bus, tmp_path: Path
) -> None:
    """The hub takes all that is behind it."""
    store = tmp_path / "leaf"
    before = await fill(store, count=20)
    flip(files(store)[1][0], 200)
    async with Leaf("press", store, remote, sync="1s") as leaf, await leaf.connect("test") as bus:
        await come_back(leaf, bus)
        await add_source(hub_bus, "UNS", "press", "acme/lyon")
        got = await taken(hub_bus, BLOCKS + 49)
        assert got == [(before, n) for n in range(1, 70)]
