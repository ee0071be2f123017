"""Lines without transaction ids, and devices whose answers come when nobody waits for them any more."""

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxrig.clock import SystemClock
from fluxrig.modbus.pdu import Refusal, read_request
from gears.io_modbus.debts import Debts
from gears.io_modbus.endpoint import parse_endpoint
from gears.io_modbus.line import Line
from gears.io_modbus.terms import Lost, Terms
from tests.gears.io_modbus.peers import DeviceServer, Pty, SerialUnits, framed

TIMEOUT_S = 0.03
FROM_1 = framed(bytes([1, 3, 8, 0x03, 0xE8, 0x03, 0xE9, 0x03, 0xEA, 0x03, 0xEB]))
LINES = {"rtu": Pty, "rtu+tcp": DeviceServer}
ECHOES = (SerialUnits.ANSWERS, SerialUnits.REFUSES, SerialUnits.SILENT)


@pytest.fixture(params=LINES)
async def serial(request):
    """Give a line, and the units at its other end."""
    wire = LINES[request.param]()
    units = SerialUnits(wire.say)
    await wire.start(units.take)
    line = Line([parse_endpoint(wire.url)], Terms(), SystemClock())
    yield line, units
    line.close()
    await units.stop()
    await wire.stop()


async def ask(line, unit, start, count, timeout_s=TIMEOUT_S):
    """Give the values, or None where there are none; no value may be another register's."""
    try:
        answer = await line.ask(unit, read_request("holding", start, count), timeout_s)
    except (Lost, Refusal):
        return None
    values = [int.from_bytes(answer.payload[n : n + 2]) for n in range(0, 2 * count, 2)]
    assert values == [1000 * unit + n for n in range(start, start + count)]
    return values


async def until_read(line, unit, start, count):
    """Ask until there are values, with more and more patience: a busy machine makes any answer late."""
    timeout_s = TIMEOUT_S
    async with asyncio.timeout(30):
        while await ask(line, unit, start, count, timeout_s) is None:
            timeout_s = min(1, timeout_s * 1.5)


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("times", [1.5, 2.5, 5.5])
async def test_an_answer_however_late_is_taken_for_no_other(serial, echo, times):
    """The answer to one read comes in the middle of later ones of the same shape: none of them takes it, and
    the device is read again by itself."""
    line, units = serial
    units.knows_echo = echo
    await until_read(line, 1, 0, 4)
    late = len(units.requests) + 1
    units.delay_s = lambda unit, number: TIMEOUT_S * times if number == late else 0
    assert await ask(line, 1, 10, 4) is None
    await until_read(line, 1, 20, 4)
    await until_read(line, 1, 30, 4)


@pytest.mark.parametrize("echo", ECHOES)
async def test_answers_at_any_time_give_no_wrong_value(serial, echo, monkeypatch):
    """Late by chance, between two units and two shapes: whatever is read is right, and in the end all is."""
    monkeypatch.setattr("gears.io_modbus.line.FORGOTTEN_AFTER_S", 0.5)
    line, units = serial
    units.knows_echo = echo
    dice = random.Random(11)
    units.delay_s = lambda unit, number: dice.choice([0, 0, 0, 0, 0.5, 1.2, 2.2, 3.3]) * TIMEOUT_S
    read = [
        await ask(line, dice.choice([1, 2]), dice.choice([0, 10, 20]), dice.choice([2, 4])) for _ in range(40)
    ]
    assert any(read)
    units.delay_s = lambda unit, number: 0
    for unit in (1, 2):
        await until_read(line, unit, 50, 4)


async def test_a_late_answer_costs_the_other_units_nothing(serial):
    """What unit 1 says late meets a question to unit 2: that one is asked again, and answers."""
    line, units = serial
    came = asyncio.Event()

    async def answer_1_while_2_is_asked():
        while len(units.requests) < 2:  # noqa: ASYNC110 - the line's state has no event
            await asyncio.sleep(0)
        units.say(FROM_1)
        came.set()

    units.delay_s = lambda unit, number: {1: None, 2: None}.get(number, 0)
    assert await ask(line, 1, 0, 4) is None
    late = asyncio.create_task(answer_1_while_2_is_asked())
    assert await ask(line, 2, 0, 4, timeout_s=1)
    assert await ask(line, 2, 10, 4, timeout_s=1)
    assert came.is_set()
    await late


async def test_a_device_of_one_register_that_is_silent_on_echoes_is_read_again(serial, monkeypatch):
    """Nothing can be asked that tells late from new: an answer is waited for until none is to be expected."""
    monkeypatch.setattr("gears.io_modbus.line.FORGOTTEN_AFTER_S", 0.3)
    line, units = serial
    units.knows_echo = SerialUnits.SILENT
    units.delay_s = lambda unit, number: None if number == 1 else 0
    assert await ask(line, 1, 0, 1) is None
    await until_read(line, 1, 0, 1)
    assert len(units.requests) > 2


async def test_an_answer_that_was_hurt_on_its_way_is_not_waited_for(serial):
    """A wrong checksum says that the answer has come: the next request needs no proof."""
    line, units = serial
    assert await ask(line, 1, 0, 1, timeout_s=10)
    say = units.say
    units.say = lambda data: say(data[:-1] + bytes([data[-1] ^ 1]))
    assert await ask(line, 1, 0, 1, timeout_s=10) is None
    units.say = say
    assert await ask(line, 1, 0, 1, timeout_s=10)
    assert [function for _, function, _, _ in units.requests] == [3, 3, 3]


SHAPES = [read_request("holding", 0, count) for count in (1, 2, 3)] + [read_request("input", 0, 2)]
LATENESS = st.lists(st.tuples(st.sampled_from(SHAPES), st.booleans(), st.booleans()), min_size=1, max_size=12)


@given(LATENESS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_taken_as_proof_proves(story):
    """A device that answers in order, of which each answer comes in time, or with a later one, or as an
    exception: whatever passes for the answer to a request is the answer to that request."""
    debts, late = Debts(), []
    for number, (request, in_time, refused) in enumerate(story):
        late.append((number, bytes([request.function | 0x80, 2]) if refused else request.echo))
        taken = False
        if in_time:
            came, answer = late.pop(0)
            fits = answer == request.echo or answer[0] == request.function | 0x80
            doubtful = debts.doubtful(1, request, 0.0)
            taken = fits and debts.proves(1, request, answer, 0.0) and not doubtful
        if taken:
            assert came == number
            assert not late
        else:
            debts.owe(1, request, 100.0)
