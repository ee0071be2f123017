"""The consumer's promise: each message once, in order, none left out, from where its caller stands."""

from __future__ import annotations

import asyncio
import random

import pytest

from fluxrig.bus import Bus, Consumer, Leaf, Parcel, Publisher, Stored, stream_state

from .ledger import read_all, take


async def fill(bus: Bus, count: int, size: int = 0) -> int:
    """Store numbered messages, and give the sequence of the first."""
    await Publisher(bus, "UNS").store(
        [Parcel("fluxrig.uns.a", b"%d " % i + bytes(size), 1) for i in range(count)]
    )
    return (await stream_state(bus, "UNS")).first_seq


def seqs(messages: list[Stored]) -> list[int]:
    return [message.seq for message in messages]


async def test_it_starts_where_its_caller_says(leaf_bus: Bus) -> None:
    """Whatever an earlier consumer of that name fetched or acknowledged, `start_seq` alone counts."""
    first = await fill(leaf_bus, 100)
    for start, acked in ((0, 30), (first + 10, 0), (first + 99, 99), (first + 5, 0)):
        consumer = Consumer(leaf_bus, "UNS", "audit", start)
        got = await take(consumer, 100 - max(0, start - first))
        assert seqs(got) == list(range(max(start, first), first + 100))
        await consumer.ack_through(first + acked)
        await consumer.close()


async def test_a_message_tells_all_that_was_stored(leaf_bus: Bus) -> None:
    """Subject, payload, headers and the time of storing, in ns, come along."""
    await fill(leaf_bus, 1)
    (stored,) = await Consumer(leaf_bus, "UNS", "audit", 0).fetch(10, 5.0)
    info = await leaf_bus.api("STREAM.INFO.UNS")
    assert (stored.subject, stored.payload) == ("fluxrig.uns.a", b"0 ")
    assert stored.headers["Content-Type"] == "application/cbor-seq"
    assert str(stored.time_ns)[-9:].rstrip("0") in info["state"]["first_ts"]


async def test_a_quiet_stream_gives_an_empty_list(leaf_bus: Bus) -> None:
    """After wait_s without a message fetch returns []; a message that comes later is not lost."""
    consumer = Consumer(leaf_bus, "UNS", "audit", 0)
    assert await consumer.fetch(10, 0.1) == []
    assert await consumer.fetch(10, 0.1) == []
    await fill(leaf_bus, 1)
    assert len(await consumer.fetch(10, 5.0)) == 1


async def test_it_gives_no_more_than_asked_for(leaf_bus: Bus) -> None:
    """A fetch is bounded by its count, and the rest comes with the next ones."""
    first = await fill(leaf_bus, 25)
    consumer = Consumer(leaf_bus, "UNS", "audit", 0)
    batches = [await consumer.fetch(10, 5.0) for _ in range(3)]
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [m.seq for batch in batches for m in batch] == list(range(first, first + 25))


async def test_more_bytes_than_one_pull_may_bring(leaf_bus: Bus) -> None:
    """Large messages come through in several pulls, so memory stays bounded whatever the count asked for."""
    first = await fill(leaf_bus, 80, 500_000)
    got = await take(Consumer(leaf_bus, "UNS", "audit", 0), 80)
    assert seqs(got) == list(range(first, first + 80))


async def test_acknowledging_moves_the_floor_on_the_server(leaf_bus: Bus) -> None:
    """Operators see how far the reader is: the durable's ack floor follows ack_through."""
    first = await fill(leaf_bus, 50)
    consumer = Consumer(leaf_bus, "UNS", "audit", 0)
    await take(consumer, 50)
    await consumer.ack_through(first + 19)
    async with asyncio.timeout(5):
        while (await leaf_bus.api("CONSUMER.INFO.UNS.audit"))["ack_floor"]["stream_seq"] < first + 19:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_it_goes_on_when_its_durable_is_taken_away(leaf_bus: Bus) -> None:
    """A consumer deleted, or moved by another reader, on the server is made anew, and nothing is doubled."""
    first = await fill(leaf_bus, 300)
    consumer = Consumer(leaf_bus, "UNS", "audit", 0)
    got = await consumer.fetch(100, 5.0)
    await leaf_bus.api("CONSUMER.DELETE.UNS.audit")
    got += await take(consumer, 100)
    other = Consumer(leaf_bus, "UNS", "audit", first)
    await other.fetch(7, 5.0)
    await other.close()
    got += await take(consumer, 300 - len(got))
    assert seqs(got) == list(range(first, first + 300))


async def test_what_the_stream_no_longer_holds_is_stepped_over(leaf_bus: Bus) -> None:
    """Deleted messages leave a hole that is not waited for."""
    first = await fill(leaf_bus, 30)
    for seq in (first, first + 10, first + 11, first + 29):
        await leaf_bus.api("STREAM.MSG.DELETE.UNS", {"seq": seq})
    got = await take(Consumer(leaf_bus, "UNS", "audit", first), 26)
    assert seqs(got) == [s for s in range(first, first + 29) if s not in (first, first + 10, first + 11)]


@pytest.mark.parametrize("seed", range(2))
async def test_kill_9_of_the_server_at_random_moments(leaf: Leaf, leaf_bus: Bus, seed: int) -> None:
    """With server deaths in the middle of fetches, every message comes once, in order."""
    draw = random.Random(seed)
    first = await fill(leaf_bus, 10_000)
    consumer = Consumer(leaf_bus, "UNS", "audit", 0)
    done = asyncio.Event()

    async def strike() -> None:
        for _ in range(4):
            await asyncio.sleep(draw.uniform(0.02, 0.25))
            leaf.kill()
        done.set()

    striker = asyncio.create_task(strike())
    got: list[Stored] = []
    while len(got) < 10_000:
        batch = await consumer.fetch(draw.choice((1, 50, 2000)), 10.0)
        got += batch
        if batch and draw.random() < 0.3:
            await consumer.ack_through(batch[-1].seq)
        if not done.is_set() and len(got) > 8_000:
            await done.wait()
    await striker
    assert seqs(got) == list(range(first, first + 10_000))
    assert await consumer.fetch(10, 0.2) == []
    assert len(await read_all(leaf_bus, "UNS")) == 10_000
