"""Streams forget what is safe elsewhere, and nothing else."""

from __future__ import annotations

import pytest

from fluxrig.bus import Bus, Hub, Leaf, Parcel, Publisher, add_source, stream_state, trim_source
from tests.processes import until_async

SUBJECT = "fluxrig.uns.acme.lyon"


def parcels(start: int, count: int) -> list[Parcel]:
    return [Parcel(SUBJECT, b"%d" % number, 100) for number in range(start, start + count)]


async def test_a_leaf_forgets_what_is_released_but_not_its_place(leaf: Leaf, leaf_bus: Bus) -> None:
    """After a release the stream holds what came behind it, and a new publisher numbers on."""
    publisher = Publisher(leaf_bus, "UNS")
    for start in range(0, 50, 10):
        await publisher.store(parcels(start, 10))
    await publisher.release(2500)
    state = await stream_state(leaf_bus, "UNS")
    assert 25 <= state.messages <= 31
    await publisher.release(10**9)
    assert (await stream_state(leaf_bus, "UNS")).messages == 1
    again = Publisher(leaf_bus, "UNS")
    await again.open()
    assert (again.next_number, again.leaf) == (5000, publisher.leaf)


@pytest.mark.parametrize("number", [0, 99])
async def test_nothing_is_forgotten_before_it_is_safe(leaf: Leaf, leaf_bus: Bus, number: int) -> None:
    """What lies behind the released number stays, also in a publisher that has just been opened."""
    await Publisher(leaf_bus, "UNS").store(parcels(0, 5))
    publisher = Publisher(leaf_bus, "UNS")
    await publisher.open()
    await publisher.release(number)
    assert (await stream_state(leaf_bus, "UNS")).messages == 5


async def test_a_small_stream_is_left_alone(leaf: Leaf, leaf_bus: Bus) -> None:
    """A stream below what is to be kept forgets nothing, even what is safe."""
    publisher = Publisher(leaf_bus, "UNS")
    await publisher.store(parcels(0, 5))
    await publisher.release(500, keep_bytes=1 << 20)
    assert (await stream_state(leaf_bus, "UNS")).messages == 5
    await publisher.release(500)
    assert (await stream_state(leaf_bus, "UNS")).messages == 1


async def test_a_trimmed_hub_takes_nothing_twice(hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """The hub keeps each Rack's last message, so after a kill -9 it goes on behind it."""
    _, leaf_bus = linked
    publisher = Publisher(leaf_bus, "UNS")
    await publisher.store(parcels(0, 20))
    await until_async(lambda: _count(hub_bus), 20)
    before = await stream_state(hub_bus, "UNS")
    await trim_source(hub_bus, "UNS", "press", "acme/lyon", before.last_seq + 1)
    trimmed = await stream_state(hub_bus, "UNS")
    assert (trimmed.messages, trimmed.last_seq) == (1, before.last_seq)
    hub.kill()
    await publisher.store(parcels(20, 5))
    await hub_bus.wait_connected()
    await add_source(hub_bus, "UNS", "press", "acme/lyon")
    await until_async(lambda: _count(hub_bus), 6, limit_s=60)
    assert (await stream_state(hub_bus, "UNS")).last_seq == before.last_seq + 5


async def test_a_trim_leaves_the_others_alone(hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """Trimming one Rack takes nothing of another's, and of its own nothing that is not committed."""
    _, leaf_bus = linked
    await Publisher(leaf_bus, "UNS").store(parcels(0, 10))
    await until_async(lambda: _count(hub_bus), 10)
    first = (await stream_state(hub_bus, "UNS")).first_seq
    await trim_source(hub_bus, "UNS", "oven", "acme/paris", first + 10)
    assert (await stream_state(hub_bus, "UNS")).messages == 10
    await trim_source(hub_bus, "UNS", "press", "acme/lyon", first + 4)
    state = await stream_state(hub_bus, "UNS")
    assert (state.messages, state.first_seq) == (6, first + 4)


async def _count(bus: Bus) -> int:
    return (await stream_state(bus, "UNS")).messages
