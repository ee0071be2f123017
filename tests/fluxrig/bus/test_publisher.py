"""The publisher's promise: what store() returned for is in the stream once, in order, whatever happened."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import suppress

import pytest

from fluxrig.bus import MAX_PARCEL_BYTES, Bus, Leaf, Parcel, Publisher, ensure_leaf_streams, stream_state
from fluxrig.errors import BusError

from .ledger import assert_gap_free, read_all

SUBJECT = "fluxrig.uns.acme.lyon.press"


def numbered(start: int, count: int, size: int = 0) -> list[Parcel]:
    return [Parcel(SUBJECT, b"%d " % i + bytes(size), 1 + i % 3) for i in range(start, start + count)]


def numbers(payloads: list[bytes]) -> list[int]:
    return [int(payload.split(b" ")[0]) for payload in payloads]


async def test_numbers_go_on_over_publishers_and_servers(leaf: Leaf, leaf_bus: Bus) -> None:
    """A new publisher, after a restart of the server too, counts on from the last stored message."""
    await Publisher(leaf_bus, "UNS").store(numbered(0, 5))
    leaf.kill()
    await Publisher(leaf_bus, "UNS").store(numbered(5, 5))
    stored = await read_all(leaf_bus, "UNS")
    assert numbers([m.payload for m in stored]) == list(range(10))
    assert_gap_free(stored)
    assert len({m.headers["Fluxrig-Leaf"] for m in stored}) == 1
    assert {m.headers["Fluxrig-Rack"] for m in stored} == {"press"}


@pytest.mark.parametrize("seed", range(3))
async def test_kill_9_at_random_moments_loses_doubles_and_reorders_nothing(
    leaf: Leaf, leaf_bus: Bus, seed: int
) -> None:
    """Under load, a dozen kill -9 of nats-server leave the stream equal to what was stored, in order."""
    draw = random.Random(seed)
    publisher = Publisher(leaf_bus, "UNS")
    stored = 0
    stop = asyncio.Event()

    async def load() -> None:
        nonlocal stored
        while not stop.is_set():
            count = draw.choice((1, 3, 50, 400))
            await publisher.store(numbered(stored, count, draw.choice((0, 2000))))
            stored += count

    task = asyncio.create_task(load())
    for _ in range(12):
        await asyncio.sleep(draw.uniform(0.0, 0.15))
        leaf.kill()
    stop.set()
    await task
    messages = await read_all(leaf_bus, "UNS")
    assert numbers([m.payload for m in messages]) == list(range(stored))
    assert_gap_free(messages)


@pytest.mark.parametrize("seed", range(2))
async def test_cancelled_in_the_middle_it_stays_exact(leaf: Leaf, leaf_bus: Bus, seed: int) -> None:
    """A cancelled store() leaves a first part of its parcels, and the next one goes on exactly behind it."""
    draw = random.Random(seed)
    publisher = Publisher(leaf_bus, "UNS")
    calls: list[tuple[int, int, bool]] = []
    for call in range(20):
        count = draw.choice((1, 200))
        task = asyncio.create_task(publisher.store(numbered(call * 1000, count)))
        if call % 5 == 4:
            leaf.kill()
        if call % 2:
            for _ in range(draw.randrange(40)):
                await asyncio.sleep(0)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        calls.append((call * 1000, count, not task.cancelled()))
    messages = await read_all(leaf_bus, "UNS")
    assert_gap_free(messages)
    by_call = {
        k: list(g) for k, g in itertools.groupby(numbers([m.payload for m in messages]), lambda n: n // 1000)
    }
    assert list(by_call) == sorted(by_call)
    for start, count, whole in calls:
        got = by_call.get(start // 1000, [])
        assert got == list(range(start, start + (count if whole else len(got))))


async def test_calls_take_turns(leaf_bus: Bus) -> None:
    """Parcels of concurrent calls are not mixed."""
    publisher = Publisher(leaf_bus, "UNS")
    await asyncio.gather(*(publisher.store(numbered(i * 100, 100)) for i in range(5)))
    messages = await read_all(leaf_bus, "UNS")
    assert numbers([m.payload for m in messages]) == list(range(500))


async def test_a_parcel_that_is_too_large_is_refused_whole(leaf_bus: Bus) -> None:
    """BusError names the limit, and nothing of the call is stored."""
    publisher = Publisher(leaf_bus, "UNS")
    with pytest.raises(BusError, match=str(MAX_PARCEL_BYTES)):
        await publisher.store([*numbered(0, 1), Parcel(SUBJECT, bytes(MAX_PARCEL_BYTES + 1), 1)])
    assert (await stream_state(leaf_bus, "UNS")).messages == 0
    await publisher.store([Parcel(SUBJECT, bytes(MAX_PARCEL_BYTES), 1)])
    assert (await stream_state(leaf_bus, "UNS")).messages == 1


async def test_a_full_stream_makes_it_wait_and_says_so_once(leaf: Leaf, leaf_bus: Bus) -> None:
    """Nothing is dropped for want of room: store() waits, says why once, and goes on when there is."""
    config = (await leaf_bus.api("STREAM.INFO.UNS"))["config"]
    await leaf_bus.api("STREAM.UPDATE.UNS", config | {"max_bytes": 100_000})
    told: list[str | None] = []
    waits = asyncio.Event()

    def tell(trouble: str | None) -> None:
        told.append(trouble)
        waits.set()

    publisher = Publisher(leaf_bus, "UNS", tell)
    task = asyncio.create_task(publisher.store(numbered(0, 100, 2000)))
    await asyncio.wait_for(waits.wait(), 10)
    assert len(told) == 1
    assert "maximum bytes exceeded" in str(told[0])
    held = await stream_state(leaf_bus, "UNS")
    assert 0 < held.messages < 100
    assert not task.done()
    await leaf_bus.api("STREAM.UPDATE.UNS", config)
    await asyncio.wait_for(task, 10)
    messages = await read_all(leaf_bus, "UNS")
    assert numbers([m.payload for m in messages]) == list(range(100))
    assert told[1:] == [None]


async def test_an_emptied_stream_numbers_anew_under_another_id(leaf: Leaf, leaf_bus: Bus) -> None:
    """When no message is left to count on from, the numbers start at 0 under a new Fluxrig-Leaf."""
    await Publisher(leaf_bus, "UNS").store(numbered(0, 3))
    before = await read_all(leaf_bus, "UNS")
    await leaf_bus.api("STREAM.PURGE.UNS")
    await Publisher(leaf_bus, "UNS").store(numbered(3, 3))
    after = await read_all(leaf_bus, "UNS")
    assert_gap_free(after)
    assert before[0].headers["Fluxrig-Leaf"] != after[0].headers["Fluxrig-Leaf"]
    assert after[0].seq == before[-1].seq + 1


async def test_streams_are_made_once(leaf: Leaf, leaf_bus: Bus) -> None:
    """Ensuring streams again keeps what they hold and their id."""
    before = await leaf_bus.api("STREAM.INFO.UNS")
    await ensure_leaf_streams(leaf_bus, "press", leaf.store_dir)
    after = await leaf_bus.api("STREAM.INFO.UNS")
    assert (before["created"], before["config"]) == (after["created"], after["config"])
