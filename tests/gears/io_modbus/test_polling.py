"""When and what is polled: intervals, phases, pauses, what a message carries."""

import asyncio
from itertools import pairwise

import pytest

from fluxrig.clock import SystemClock
from fluxrig.testing import ManualClock, Workbench, context, settle
from gears.io_modbus.config import Config
from gears.io_modbus.gear import IoModbus
from gears.io_modbus.owner import Owners, owners
from gears.io_modbus.timer import Timer

REGISTER = {"at": "holding/0"}


def zeros(number, request):
    """A device that has zeros everywhere."""
    function, count = request[7], int.from_bytes(request[10:12])
    size = (count + 7) // 8 if function < 3 else count * 2
    return request[:4] + bytes([0, 3 + size, request[6], function, size]) + bytes(size)


async def test_each_tag_is_read_as_often_as_it_says(plant):
    """With a clock that the test moves: in a second ten polls of one tag, two of another, each in messages of
    their own."""
    clock, bench = ManualClock(), Workbench()
    tags = {"quick": {"at": "holding/0", "every": "100ms"}, "slow": {"at": "holding/1"}}
    values = {"endpoint": f"tcp://127.0.0.1:{plant.port}", "every": "500ms", "tags": tags}
    gear = IoModbus(Config.model_validate(values), context(clock=clock))
    running = asyncio.create_task(gear.run(bench.emit))
    for _ in range(100):
        await clock.advance(0.01)
        async with asyncio.timeout(10):
            while clock.sleepers < 2:  # noqa: ASYNC110 - both groups are done with real I/O when they sleep
                await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await gear.close()
    await settle()
    polls = [tuple(message.data) for message in bench.out]
    assert polls.count(("quick",)) == 11
    assert polls.count(("slow",)) == 2


def test_devices_begin_at_different_phases():
    """However many: no two of the first hundred begin within less than a thousandth of their interval, and
    the first begins at once."""
    some = Owners()
    phases = sorted(some.next_phase() for _ in range(100))
    assert phases[0] == 0.0
    assert min(b - a for a, b in pairwise(phases)) > 0.001
    assert phases[-1] < 1.0


async def test_the_timer_is_never_early():
    """It wakes at its time or after, and can be used again and given back twice."""
    clock = SystemClock()
    timer = Timer(clock)
    for wait_ns in (3_000_000, 500_000, 0, -1):
        due = clock.monotonic_ns() + wait_ns
        async with asyncio.timeout(10):
            await timer.until(due)
        assert clock.monotonic_ns() >= due
    timer.close()
    timer.close()


async def test_a_message_for_each_request_has_the_time_of_its_answer(scripted, poll):
    """Two tables: two messages, the later one younger, neither with a spread."""

    async def script(number, request):
        await asyncio.sleep(0.005)
        return zeros(number, request)

    device = await scripted(script)
    tags = {"a": {"at": "holding/0"}, "b": {"at": "input/0"}}
    rig = await poll(device.port, tags, message="request", every="50ms")
    await rig.bench.wait_for(4)
    first, second = rig.out[0], rig.out[1]
    assert [set(first.data), set(second.data)] == [{"b"}, {"a"}]
    assert second.ts - first.ts >= 4_000_000
    assert "spread_ms" not in first.meta
    assert float(first.meta["latency_ms"]) >= 4


@pytest.mark.parametrize(("close_after", "connections"), [("never", 1), ("poll", 3), ("request", 6)])
async def test_connections_last_as_long_as_asked(scripted, poll, close_after, connections):
    """For ever, for a poll, or for a request: six requests of three polls."""
    device = await scripted(zeros)
    tags = {"a": {"at": "holding/0"}, "b": {"at": "input/0"}}
    rig = await poll(device.port, tags, close_after=close_after, every="30ms")
    await rig.bench.wait_for(3)
    seen = len(rig.out)
    expected = {"never": 1, "poll": seen, "request": 2 * seen}[close_after]
    assert expected <= device.connections <= expected + 2
    assert device.connections >= connections
    assert not rig.losses


async def test_an_idle_connection_is_closed_and_opened_again(scripted, poll):
    """After the idle time-out the device has its connection back; the next poll makes another."""
    device = await scripted(zeros)
    rig = await poll(device.port, {"a": REGISTER}, every="200ms", idle_timeout="50ms")
    await device.gone.wait()
    await rig.bench.wait_for(3)
    assert device.connections >= 2
    assert not rig.losses


async def test_pauses_are_kept(scripted, poll):
    """After the connection, and between the answer and the next request."""
    times = []

    def script(number, request):
        times.append(asyncio.get_running_loop().time())
        return zeros(number, request)

    device = await scripted(script)
    begin = asyncio.get_running_loop().time()
    tags = {"a": {"at": "holding/0"}, "b": {"at": "input/0"}, "c": {"at": "holding/500"}}
    pauses = {"pause_after_connect": "60ms", "pause_between_requests": "30ms"}
    rig = await poll(device.port, tags, every="1s", **pauses)
    await rig.bench.wait_for(1)
    assert times[0] - begin >= 0.06
    assert all(after - before >= 0.03 for before, after in pairwise(times))


async def test_a_read_that_was_lost_is_asked_again(scripted, poll):
    """With retries the consumers see nothing of a single loss."""
    device = await scripted(lambda number, request: None if number == 2 else zeros(number, request))
    rig = await poll(device.port, {"a": REGISTER}, retries=1, response_timeout="100ms")
    await rig.bench.wait_for(6)
    assert {message.data["a"] for message in rig.out} == {0}
    assert not rig.losses
    assert device.connections == 2


async def test_what_was_not_heard_of_is_told_stale(scripted, poll):
    """A line that is busy with others for long: the tags turn stale, once, and good again."""
    slow = asyncio.Event()

    async def script(number, request):
        if number == 2:
            await slow.wait()
        return zeros(number, request)

    device = await scripted(script)
    rig = await poll(device.port, {"a": REGISTER}, stale_after="100ms", every="20ms")
    stale = await rig.until(lambda message: message.meta.get("quality.a") == "stale")
    assert stale.data == {"a": None}
    await asyncio.sleep(0.6)
    slow.set()
    good = await rig.until(lambda message: message.meta.get("quality.a") == "good")
    assert good.data == {"a": 0}
    assert [message.meta.get("quality.a") for message in rig.out].count("stale") == 1
    assert "quality.a" not in rig.out[0].meta


async def test_good_is_told_once_when_it_comes_back(plant, poll):
    """While a tag is bad every message says so; the first one after says good; later ones nothing."""
    rig = await poll(plant.port, {"n": REGISTER})
    await rig.bench.wait_for(2)
    await plant.stop()
    await rig.until_true(lambda: rig.out[-1].data == {"n": None})
    await plant.start()
    seen = len(rig.out)
    await rig.bench.wait_for(seen + 3)
    qualities = [message.meta.get("quality.n") for message in rig.out]
    assert qualities.count("good") == 1
    assert qualities[seen : seen + 3] == ["good", None, None]
    assert qualities[seen - 1] == "bad:disconnected"


async def test_nothing_is_left_of_an_endpoint_that_nobody_uses(plant, poll):
    """The last gear that leaves closes the connection and forgets the owner."""
    one, two = [await poll(plant.port, {"n": REGISTER}) for _ in range(2)]
    await two.bench.wait_for(2)
    await one.bench.wait_for(2)
    assert len(plant.server.active_connections) == 1
    await one.stop()
    await two.bench.wait_for(len(two.out) + 2)
    await two.stop()
    await two.until_true(lambda: not plant.server.active_connections)
    assert not owners()._by_endpoint
