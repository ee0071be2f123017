"""The gear against a real pymodbus server."""

import asyncio
import struct

from fluxrig.gear import OUT
from fluxrig.testing import ManualClock, Workbench, check_gear, context, settle
from gears.io_modbus.config import MANIFEST, Config
from gears.io_modbus.gear import IoModbus

TAGS = {
    "pressure": {"at": "holding/10", "type": "float32", "order": "CDAB", "unit": "bar"},
    "level": {"at": "input/4", "type": "int16", "scale": 0.5, "offset": 100, "unit": "mm"},
    "strokes": {"at": "input/2", "type": "uint32"},
    "running": {"at": "coil/3"},
    "alarm": {"at": "discrete/17"},
}


async def fill(plant):
    high, low = struct.unpack(">HH", struct.pack(">f", 4.25))
    await plant.put("holding", 10, low, high)
    await plant.put("input", 2, 1, 0xE240, 0xFFF6)
    await plant.put("coil", 3, True)
    await plant.put("discrete", 17, True)


VALUES = {"pressure": 4.25, "level": 95.0, "strokes": 123_456, "running": True, "alarm": True}


async def test_one_message_a_poll_has_all_tags(plant, poll):
    """Four tables, five types, byte order, scale and units come out as they were put in."""
    await fill(plant)
    rig = await poll(plant.port, TAGS)
    message = await rig.until(lambda message: message.data == VALUES)
    assert list(message.data) == list(TAGS)
    assert message.meta.items() >= {"unit.pressure": "bar", "unit.level": "mm"}.items()
    assert float(message.meta["latency_ms"]) > 0
    assert float(message.meta["spread_ms"]) > 0
    assert (message.src, message.uns) == ("rack/press", "acme/lyon/press")
    assert message.schema == "fluxrig.tags/1"
    assert rig.events == ["connected"]
    assert not rig.losses


async def test_a_value_that_changes_is_seen_by_the_next_polls(plant, poll):
    """Values are read anew each time, and the time stamps grow."""
    rig = await poll(plant.port, {"n": {"at": "holding/0"}})
    for n in range(1, 6):
        await plant.put("holding", 0, n)
        await rig.until(lambda message, n=n: message.data["n"] == n)
    stamps = [message.ts for message in rig.out]
    assert stamps == sorted(stamps)


async def test_an_illegal_address_costs_no_neighbour(plant, poll, caplog):
    """Of 40 tags around a hole in the device, the ten in it are bad with the reason, the others good."""
    await plant.put("holding", 99, 7)
    rig = await poll(plant.port, {f"r{n}": {"at": f"holding/{n}"} for n in range(90, 130)})
    whole = await rig.until(lambda message: sum(value is None for value in message.data.values()) == 10)
    assert [name for name, value in whole.data.items() if value is None] == [f"r{n}" for n in range(100, 110)]
    assert whole.meta["quality.r100"] == "bad:illegal_data_address"
    assert "quality.r99" not in whole.meta
    assert whole.data["r99"] == 7
    assert not rig.losses
    await rig.bench.wait_for(len(rig.out) + 2)
    assert [text for text in caplog.messages if "check the addresses" in text] == [
        "the device has no r100 (holding/100), r101 (holding/101), r102 (holding/102), r103 (holding/103), "
        "r104 (holding/104) and 5 more; check the addresses"
    ]


async def test_a_hole_that_can_not_be_read_through_is_remembered(plant, poll):
    """When only the hole between two tags is illegal, both are read, in requests of their own."""
    await plant.put("holding", 99, 7)
    await plant.put("holding", 110, 8)
    rig = await poll(plant.port, {"a": {"at": "holding/99"}, "b": {"at": "holding/110"}})
    message = await rig.until(lambda message: None not in message.data.values())
    assert message.data == {"a": 7, "b": 8}
    assert len(rig.out) == 1


async def test_a_restarted_device_is_polled_again_by_itself(plant, poll):
    """Away: one message with every tag bad, one event. Back: values again, one event. More than once."""
    rig = await poll(plant.port, {"n": {"at": "holding/0"}})
    for n in (1, 2, 3):
        await plant.put("holding", 0, n)
        await rig.until(lambda message, n=n: message.data["n"] == n)
        await plant.stop()
        await rig.until_true(lambda: rig.out[-1].data == {"n": None})
        losses = len(rig.losses)
        await rig.until_true(lambda losses=losses: len(rig.losses) > losses)
        await plant.start()
    await rig.until_true(lambda: rig.out[-1].data == {"n": 0})
    assert rig.events == ["connected", "disconnected"] * 3 + ["connected"]
    bad = [message for message in rig.out if message.data["n"] is None]
    assert len(bad) == 3
    assert {message.meta["quality.n"] for message in bad} == {"bad:disconnected"}


async def test_a_killed_connection_is_replaced_at_once(plant, poll):
    """A reset does not have to wait for the response time-out, and between two requests costs no value."""
    rig = await poll(plant.port, {"n": {"at": "holding/0"}}, response_timeout="1h", every="5ms")
    for _ in range(3):
        seen = len(rig.out)
        await rig.until_true(lambda seen=seen: len(rig.out) > seen + 2)
        plant.kill_connections()
    seen = len(rig.out)
    await rig.until_true(lambda: len(rig.out) > seen + 2)
    assert {message.data["n"] for message in rig.out} == {0}
    assert not rig.losses


async def test_a_device_that_was_never_there_is_told_once(poll):
    """From the start the consumers know that the tags are bad, and hear it once, not at every attempt."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    rig = await poll(port, {"n": {"at": "holding/0", "unit": "bar"}})
    await rig.until_true(lambda: len(rig.losses) >= 3)
    assert [message.data for message in rig.out] == [{"n": None}]
    assert rig.out[0].meta == {"unit.n": "bar", "quality.n": "bad:disconnected"}
    assert rig.events == ["disconnected"]
    assert "check address, port and device" in str(rig.losses[0])


async def test_polls_are_on_schedule(plant):
    """With a clock that the test moves: ten periods are ten polls, at the period, without drift."""
    clock, bench = ManualClock(), Workbench()
    config = Config.model_validate(
        {"endpoint": f"tcp://127.0.0.1:{plant.port}", "every": "100ms", "tags": {"n": {"at": "holding/0"}}}
    )
    gear = IoModbus(config, context(clock=clock))
    start_ns = clock.now_ns()
    running = asyncio.create_task(gear.run(bench.emit))
    for polls in range(1, 11):
        await bench.wait_for(polls)
        async with asyncio.timeout(10):
            while not clock.sleepers:  # noqa: ASYNC110 - the gear is done with real I/O when it sleeps
                await asyncio.sleep(0)
        await clock.advance(0.1)
    await bench.wait_for(11)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await gear.close()
    await settle()
    assert [message.ts - start_ns for message in bench.emitted[OUT]] == [n * 100_000_000 for n in range(11)]


async def test_it_keeps_the_gear_contract(plant):
    """The public conformance kit passes against a device that is there."""
    tags = {**TAGS, "speed": {"at": "holding/20", "write": True}}
    config = Config.model_validate({"endpoint": f"tcp://127.0.0.1:{plant.port}", "tags": tags})
    ask = context("operator").message
    wishes = (ask({"speed": 7}), ask({"speed": "fast", "pressure": 1}), ask({}))
    await check_gear(lambda context: IoModbus(config, context), MANIFEST, inputs=[wishes])


async def test_cancelling_leaves_no_task_and_no_connection(plant, poll):
    """After a stop only the server's side is left, and it sees the connection go."""
    rig = await poll(plant.port, TAGS)
    await rig.bench.wait_for(2)
    await rig.stop()
    await rig.until_true(lambda: not plant.server.active_connections)
    assert asyncio.all_tasks() == {asyncio.current_task()}
