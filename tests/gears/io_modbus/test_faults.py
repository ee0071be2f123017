"""The gear against devices that misbehave, byte by byte."""

import asyncio
import struct

import pytest

from fluxrig.modbus.pdu import read_request
from fluxrig.testing import ManualClock
from gears.io_modbus.endpoint import parse_endpoint
from gears.io_modbus.line import Line
from gears.io_modbus.terms import Terms

TAG = {"n": {"at": "holding/5"}}


def registers(*values):
    return struct.pack(f">{len(values)}H", *values)


def is_bad(reason):
    return lambda message: message.meta.get("quality.n") == f"bad:{reason}"


async def test_a_late_answer_is_never_taken_for_the_next(scripted, poll, answers):
    """A device that answers each request after the time-out never gets a value through, least of all a
    shifted one; each late answer costs its connection."""
    frame, _ = answers

    async def late(number, request):
        await asyncio.sleep(0.3)
        return frame(request, registers(number))

    device = await scripted(late)
    rig = await poll(device.port, TAG, response_timeout="150ms")
    await rig.until_true(lambda: len(rig.losses) >= 3)
    assert [message.data["n"] for message in rig.out] == [None]
    assert {loss.reason for loss in rig.losses} == {"timeout"}
    assert device.connections >= 3


async def test_answers_do_not_shift(scripted, poll, answers):
    """A device that answers two requests late and then well: every value is that of its own request."""
    frame, _ = answers
    sent = {}

    async def script(number, request):
        if number in (3, 4):
            await asyncio.sleep(0.3)
        sent[number] = int.from_bytes(request[8:10])
        return frame(request, registers(sent[number]))

    device = await scripted(script)
    tags = {f"r{n}": {"at": f"holding/{n}"} for n in (5, 300, 900)}
    rig = await poll(device.port, tags, response_timeout="150ms", every="5ms")
    await rig.until_true(lambda: len(rig.losses) >= 1 and len(rig.out) > 10)
    for message in rig.out:
        for name, value in message.data.items():
            assert value in (int(name[1:]), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"transaction": 999},
        {"transaction": 0},
        {"protocol": 1},
        {"unit": 9},
        {"function": 4},
        {"length": 7},
        {"length": 200},
        {"length": 2},
    ],
    ids=str,
)
async def test_an_answer_to_something_else_drops_the_connection(scripted, poll, answers, wrong):
    """A wrong transaction id, protocol id, unit, function or length is never a value; the next connection is
    polled again."""
    frame, _ = answers

    def script(number, request):
        return frame(request, registers(number), **(wrong if number == 2 else {}))

    device = await scripted(script)
    rig = await poll(device.port, TAG)
    await rig.until(is_bad("wrong_answer"))
    await rig.until(lambda message: (message.data["n"] or 0) > 4)
    assert 2 not in [message.data["n"] for message in rig.out]
    assert device.connections == 2
    assert [loss.reason for loss in rig.losses] == ["wrong_answer"]
    assert next(iter(wrong)) in str(rig.losses[0])
    assert rig.events == ["connected", "disconnected", "connected"]


@pytest.mark.parametrize("size", [0, 1, 3, 200])
async def test_a_wrong_number_of_values_drops_the_connection(scripted, poll, answers, size):
    """Fewer or more bytes than asked for are no value, also when the frame is sound in itself."""
    frame, _ = answers
    device = await scripted(
        lambda number, request: frame(request, bytes(size) if number == 1 else registers(number))
    )
    rig = await poll(device.port, TAG)
    await rig.until(is_bad("wrong_answer"))
    await rig.until(lambda message: (message.data["n"] or 0) > 1)


async def test_bytes_that_nobody_asked_for_drop_the_connection(scripted, poll, answers):
    """A second answer behind the first is not left lying there for the next request."""
    frame, _ = answers
    device = await scripted(
        lambda number, request: frame(request, registers(number)) * (2 if number == 1 else 1)
    )
    rig = await poll(device.port, TAG)
    await rig.until(is_bad("wrong_answer"))
    await rig.until(lambda message: (message.data["n"] or 0) > 1)
    assert 1 not in [message.data["n"] for message in rig.out]


async def test_garbage_is_no_value_and_prints_no_traceback(scripted, poll, answers, caplog, capfd):
    """Random bytes cost the connection, and one line at most."""
    frame, _ = answers
    device = await scripted(
        lambda number, request: bytes(range(200)) if number == 1 else frame(request, registers(number))
    )
    rig = await poll(device.port, TAG)
    await rig.until(lambda message: (message.data["n"] or 0) > 1)
    await rig.stop()
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())
    assert not [record for record in caplog.records if record.name.startswith(("pymodbus", "asyncio"))]


async def test_an_answer_in_pieces_is_put_together(scripted, poll, answers):
    """TCP may cut an answer anywhere."""
    frame, _ = answers
    device = await scripted(lambda number, request: None)

    async def drip(number, request):
        writer = next(iter(device._writers))
        for byte in frame(request, registers(number)):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)

    device.script = drip
    rig = await poll(device.port, TAG)
    await rig.until(lambda message: message.data["n"] == 3)
    assert not rig.losses


async def test_a_silent_device_is_told_once_and_left(scripted, poll):
    """Taking the connection and never answering: one bad message, one event, a new connection each time."""
    device = await scripted(lambda number, request: None)
    rig = await poll(device.port, TAG, response_timeout="200ms")
    await rig.until_true(lambda: len(rig.losses) >= 3)
    assert len(rig.out) == 1
    assert is_bad("timeout")(rig.out[0])
    assert rig.events == ["disconnected"]
    assert "no answer within 200ms" in str(rig.losses[0])


async def test_what_was_read_before_the_loss_is_not_lost(scripted, poll, answers):
    """One table answers, the other never does: the first one's value comes, then all are bad."""
    frame, _ = answers
    device = await scripted(lambda number, request: frame(request, registers(7)) if request[7] == 4 else None)
    rig = await poll(
        device.port, {"in": {"at": "input/0"}, "hold": {"at": "holding/0"}}, response_timeout="300ms"
    )
    await rig.until_true(lambda: len(rig.out) >= 2)
    assert [message.data for message in rig.out[:2]] == [{"in": 7, "hold": None}, {"in": None, "hold": None}]
    assert rig.out[0].meta["quality.hold"] == "bad:timeout"
    assert "quality.in" not in rig.out[0].meta
    assert rig.out[1].ts - rig.out[0].ts > 200_000_000, (
        "the value is stamped when it came, not at the time-out"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1, "illegal_function"), (4, "server_device_failure"), (6, "server_device_busy"), (99, "exception_99")],
)
async def test_an_exception_makes_its_own_block_bad(scripted, poll, answers, code, reason):
    """The block's tags say why, the other block's are good, the connection stays, and it is asked again."""
    frame, refusal = answers
    device = await scripted(
        lambda number, request: refusal(request, code) if request[7] == 3 else frame(request, registers(7))
    )
    rig = await poll(device.port, {"in": {"at": "input/0"}, "n": {"at": "holding/0"}})
    await rig.bench.wait_for(3)
    assert {message.data["in"] for message in rig.out} == {7}
    assert all(map(is_bad(reason), rig.out))
    assert device.connections == 1
    assert len([request for request in device.requests if request[7] == 3]) >= 3


async def test_one_request_is_under_way_at_a_time(scripted, poll, answers):
    """Devices with one buffer are safe: no request is sent before the last is answered."""
    frame, _ = answers
    under_way = most = 0

    async def script(number, request):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return frame(request, registers(1))

    device = await scripted(script)
    rig = await poll(device.port, {f"r{n}": {"at": f"holding/{n}"} for n in (0, 1000, 2000)}, every="5ms")
    await rig.bench.wait_for(10)
    assert most == 1
    assert device.connections == 1


async def test_overruns_are_told_once_and_do_not_burst(scripted, poll, answers):
    """A device slower than `every` is polled as fast as it answers; the rest is counted."""
    frame, _ = answers

    async def slow(number, request):
        await asyncio.sleep(0.03)
        return frame(request, registers(number))

    device = await scripted(slow)
    rig = await poll(device.port, TAG, every="10ms")
    await rig.bench.wait_for(5)
    assert rig.news == ["connected", "overrun"]
    assert rig.gear.groups[0].schedule.overruns >= 4
    assert rig.gear.groups[0].schedule.skipped >= 4


async def test_a_clock_that_is_set_while_a_device_is_asked_makes_no_latency(scripted, answers):
    """The machine's clock is set back by a minute between request and answer: what took no time still did."""
    frame, _ = answers
    clock = ManualClock()

    async def answer(number, request):
        clock.step_wall_clock(-60)
        return frame(request, registers(7))

    device = await scripted(answer)
    line = Line([parse_endpoint(f"tcp://127.0.0.1:{device.port}")], Terms(), clock)
    answer = await line.ask(1, read_request("holding", 0, 1), 5.0)
    assert answer.answered_ns == answer.sent_ns
    line.close()
