"""From a leaf's publisher over the link to a consumer of the hub."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

from fluxrig.bus import (
    Bus,
    Consumer,
    Hub,
    Leaf,
    Parcel,
    Publisher,
    Stored,
    add_source,
    ensure_leaf_streams,
    stream_state,
)
from fluxrig.bus.sources import restart_sources
from fluxrig.identity import certificates

from .ledger import assert_gap_free, read_all, take
from .trusted import Operator


async def test_what_the_leaf_stored_comes_out_of_the_hub_in_order(
    hub_bus: Bus, linked: tuple[Leaf, Bus]
) -> None:
    """Subjects at and below the prefix arrive once, in order, and their headers count fluxMsgs gap-free."""
    _, bus = linked
    publisher = Publisher(bus, "UNS")
    subjects = ["fluxrig.uns.acme.lyon", "fluxrig.uns.acme.lyon.press"]
    await publisher.store([Parcel(subjects[i % 2], b"%d" % i, 1 + i % 3) for i in range(50)])
    consumer = Consumer(hub_bus, "UNS", "audit", 0)
    got = await take(consumer, 50)
    assert [m.payload for m in got] == [b"%d" % i for i in range(50)]
    assert [m.subject for m in got] == [subjects[i % 2] for i in range(50)]
    assert_gap_free(got)
    await consumer.ack_through(got[-1].seq)
    state = await stream_state(hub_bus, "UNS")
    assert (state.messages, state.last_seq) == (50, got[-1].seq)


def parcels(start: int, count: int, subject: str = "fluxrig.uns.acme.lyon.press") -> list[Parcel]:
    return [Parcel(subject, b"%d" % i, 2) for i in range(start, start + count)]


def numbers(messages: list[Stored]) -> list[int]:
    return [int(message.payload) for message in messages]


async def hub_holds(bus: Bus, count: int, stream: str = "UNS") -> None:
    """Wait until the hub took so many."""
    async with asyncio.timeout(15):
        while (await stream_state(bus, stream)).messages < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_hub_killed_by_9_gets_everything_in_the_end(
    hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus]
) -> None:
    """While the hub dies again and again the leaf stores on; the hub ends with all of it, once, in order."""
    _, bus = linked
    publisher = Publisher(bus, "UNS")
    for turn in range(8):
        await publisher.store(parcels(turn * 500, 500))
        hub.kill(0.2 if turn == 5 else 0.0)
    await hub_holds(hub_bus, 4000)
    messages = await read_all(hub_bus, "UNS")
    assert numbers(messages) == list(range(4000))
    assert_gap_free(messages)


async def test_hub_and_leaf_killed_together(hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """A consumer of the hub that reads meanwhile gets all of it, once, in order."""
    leaf, bus = linked
    publisher = Publisher(bus, "UNS")

    async def load() -> None:
        for turn in range(20):
            await publisher.store(parcels(turn * 100, 100))
            if turn % 5 == 2:
                leaf.kill()
            if turn % 5 == 4:
                hub.kill()

    task = asyncio.create_task(load())
    messages = await take(Consumer(hub_bus, "UNS", "audit", 0), 2000)
    await task
    assert numbers(messages) == list(range(2000))
    assert_gap_free(messages)


async def test_leaves_do_not_see_each_other(
    hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus], operator: Operator, tmp_path: Path
) -> None:
    """What one leaf stores is in no other leaf, and in the hub once; sources added together all stay."""
    _, bus = linked
    racks = ("left", "right")
    async with AsyncExitStack() as stack:
        buses = {"press": bus}
        for rack in racks:
            leaf = await stack.enter_async_context(
                Leaf(rack, tmp_path / rack, operator.remote(hub, rack), sync="1s")
            )
            buses[rack] = await stack.enter_async_context(await leaf.connect("test"))
            await ensure_leaf_streams(buses[rack], rack, leaf.store_dir)
        await asyncio.gather(*(add_source(hub_bus, "UNS", rack, f"acme/{rack}") for rack in racks))
        await asyncio.gather(*(add_source(hub_bus, "DEAD", rack, "") for rack in racks))
        for rack, own in buses.items():
            prefix = "acme.lyon" if rack == "press" else f"acme.{rack}"
            await Publisher(own, "UNS").store(parcels(0, 10, f"fluxrig.uns.{prefix}.x"))
            await Publisher(own, "DEAD").store(parcels(0, 3, f"fluxrig.dead.{rack}.gear"))
        await hub_holds(hub_bus, 30)
        await hub_holds(hub_bus, 9, "DEAD")
        for rack, own in buses.items():
            assert {m.headers["Fluxrig-Rack"] for m in await read_all(own, "UNS")} == {rack}
            assert (await stream_state(own, "UNS")).messages == 10
        for stream, count in (("UNS", 10), ("DEAD", 3)):
            stored = await read_all(hub_bus, stream)
            for rack in buses:
                assert numbers([m for m in stored if m.headers["Fluxrig-Rack"] == rack]) == list(range(count))


async def test_a_rack_gets_no_further_than_its_prefix(hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """What a leaf holds outside of its Rack's prefix stays on the leaf, and does not hold up the rest."""
    _, bus = linked
    publisher = Publisher(bus, "UNS")
    await publisher.store(parcels(0, 1, "fluxrig.uns.acme.paris.press"))
    await publisher.store(parcels(1, 1, "fluxrig.uns.acme.lyonnaise"))
    await publisher.store(parcels(2, 1))
    await hub_holds(hub_bus, 1)
    assert numbers(await read_all(hub_bus, "UNS")) == [2]


async def test_adding_a_source_again_changes_nothing(hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """A Rack that registers as before leaves the stream's configuration as it was."""
    before = (await hub_bus.api("STREAM.INFO.UNS"))["config"]["sources"]
    await add_source(hub_bus, "UNS", "press", "acme/lyon")
    assert (await hub_bus.api("STREAM.INFO.UNS"))["config"]["sources"] == before


async def test_a_new_prefix_takes_nothing_twice(hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """Re-registered under other prefixes, under load and a restart, all is taken once, in order."""
    _, bus = linked
    publisher = Publisher(bus, "UNS")
    prefixes = ("acme/lyon", "acme", "acme/lyon/press", "acme/lyon")

    async def load() -> None:
        for turn in range(40):
            await publisher.store(parcels(turn * 50, 50))

    task = asyncio.create_task(load())
    for turn, prefix in enumerate(prefixes * 2):
        await add_source(hub_bus, "UNS", "press", prefix)
        await asyncio.sleep(0.02)
        if turn == 4:
            hub.kill()
    await task
    await hub_holds(hub_bus, 2000)
    messages = await read_all(hub_bus, "UNS")
    assert numbers(messages) == list(range(2000))
    config = (await hub_bus.api("STREAM.INFO.UNS"))["config"]
    assert len(config["sources"]) == 1
    assert not [key for key in config["metadata"] if key.startswith("fluxrig.source")]


async def test_a_rack_that_comes_late_brings_what_it_has(
    hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus], operator: Operator, tmp_path: Path
) -> None:
    """A Rack that ran alone is taken from its first message, though the hub holds others' already."""
    await Publisher(linked[1], "UNS").store(parcels(0, 10))
    await hub_holds(hub_bus, 10)
    async with (
        Leaf("late", tmp_path / "late", operator.remote(hub, "late"), sync="1s") as leaf,
        await leaf.connect("test") as bus,
    ):
        await ensure_leaf_streams(bus, "late", leaf.store_dir)
        await Publisher(bus, "UNS").store(parcels(0, 10, "fluxrig.uns.acme.late.x"))
        await add_source(hub_bus, "UNS", "late", "acme/late")
        await hub_holds(hub_bus, 20)
        late = [m for m in await read_all(hub_bus, "UNS") if m.headers["Fluxrig-Rack"] == "late"]
        assert numbers(late) == list(range(10))


async def test_a_prefix_that_returns_takes_nothing_twice(
    hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus]
) -> None:
    """From one prefix to another and back, with the hub dying before anything new came: all once."""
    _, bus = linked
    publisher = Publisher(bus, "UNS")
    for turn, prefix in enumerate(("acme/lyon", "acme", "acme/lyon")):
        await add_source(hub_bus, "UNS", "press", prefix)
        if turn < 2:
            await publisher.store(parcels(turn * 10, 10))
            await hub_holds(hub_bus, (turn + 1) * 10)
    hub.kill()
    await asyncio.sleep(0.2)
    await publisher.store(parcels(20, 10))
    await hub_holds(hub_bus, 30)
    assert numbers(await read_all(hub_bus, "UNS")) == list(range(30))


async def test_a_new_prefix_while_the_leaf_is_away(hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """A restarted hub that has not heard of the leaf since knows how far it took."""
    leaf, bus = linked
    publisher = Publisher(bus, "UNS")
    await publisher.store(parcels(0, 20))
    await hub_holds(hub_bus, 20)
    leaf.kill(down_for_s=1.0)
    hub.kill()
    await asyncio.sleep(0.3)
    await add_source(hub_bus, "UNS", "press", "acme")
    await publisher.store(parcels(20, 20))
    await hub_holds(hub_bus, 40)
    assert numbers(await read_all(hub_bus, "UNS")) == list(range(40))


async def test_a_source_restarted_under_load_takes_all_once(hub_bus: Bus, linked: tuple[Leaf, Bus]) -> None:
    """Restarting a source at any moment, or dying in the middle of it, neither loses nor doubles."""
    publisher = Publisher(linked[1], "UNS")
    await add_source(hub_bus, "UNS", "press", "acme")
    task = asyncio.create_task(publisher.store(parcels(0, 3000)))
    for _ in range(10):
        await restart_sources(hub_bus, "UNS", {"$JS.press.API"})
    config = (await hub_bus.api("STREAM.INFO.UNS"))["config"]
    metadata = config["metadata"] | {"fluxrig.restarting": json.dumps(config["sources"])}
    await hub_bus.api("STREAM.UPDATE.UNS", config | {"sources": [], "metadata": metadata})
    await add_source(hub_bus, "UNS", "press", "acme")
    await task
    await hub_holds(hub_bus, 3000)
    assert numbers(await read_all(hub_bus, "UNS")) == list(range(3000))


async def test_a_leaf_of_another_authority_is_kept_out(
    hub: Hub, hub_bus: Bus, operator: Operator, tmp_path: Path
) -> None:
    """A leaf whose certificate another authority issued stores for itself, and the hub gets nothing of it."""
    stranger = operator.remote(hub, ca=certificates.make_ca("test"))
    async with (
        Leaf("press", tmp_path / "leaf", stranger, sync="1s") as leaf,
        await leaf.connect("test") as bus,
    ):
        await ensure_leaf_streams(bus, "press", leaf.store_dir)
        await add_source(hub_bus, "UNS", "press", "acme/lyon")
        await Publisher(bus, "UNS").store(parcels(0, 10))
        async with asyncio.timeout(10):
            while "signed by unknown authority" not in (hub.store_dir / "server.log").read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await stream_state(hub_bus, "UNS")).messages == 0
        await leaf.dial(operator.remote(hub))
        await hub_holds(hub_bus, 10)


async def test_a_hub_and_a_leaf_take_new_certificates_without_a_cut(
    hub: Hub, hub_bus: Bus, linked: tuple[Leaf, Bus], operator: Operator
) -> None:
    """Both ends show new certificates from the next connection on; the one that is up stays."""
    leaf, bus = linked
    await Publisher(bus, "UNS").store(parcels(0, 10))
    await hub_holds(hub_bus, 10)
    await hub.believe(operator.renewed())
    await leaf.dial(operator.remote(hub))
    await Publisher(bus, "UNS").store(parcels(10, 10))
    await hub_holds(hub_bus, 20)
    log = (hub.store_dir / "server.log").read_text()
    assert log.count("Leafnode connection created") == 1
    assert hub.restarts == leaf.restarts == 0
    assert await asyncio.to_thread(operator.served, hub) == operator.shown
