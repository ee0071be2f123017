"""A unit that is away: how often it is asked, and what that costs the others of its line."""

import asyncio

import pytest

from gears.io_modbus.config import Config
from gears.io_modbus.device import device_of
from gears.io_modbus.metrics import Metrics
from gears.io_modbus.poll import Query
from gears.io_modbus.terms import Lost
from gears.io_modbus.unit import FIRST_WAIT_S, LONGEST_WAIT_S, PROBE_SHARE, Unit

DEVICES = {f"u{unit}": {"unit": unit, "tags": {"n": {"at": "holding/0"}}} for unit in range(1, 9)}
CONFIG = Config.model_validate({"endpoint": "rtu:///dev/ttyUSB0", "devices": DEVICES})


class Line:
    """An owner whose units never answer: each request holds it for a second of the clock's time."""

    main = type("Main", (), {"endpoint": "somewhere"})

    def __init__(self, clock, *, stands_apart=False):
        self.away, self.stands_apart, self.clock = set(), stands_apart, clock
        self.held_s = 0.0

    async def ask(self, unit, request, timeout_s, *, still=None, **terms):
        if still is not None:
            still()
        lost = Lost("timeout", "no answer")
        lost.held_s = 1.0
        self.held_s += 1.0
        raise lost


class Clock:
    """Sleeping takes no time; after an hour of it there is an end."""

    def __init__(self):
        self.now_s = 0.0
        self.waits_s = []

    async def sleep(self, seconds):
        self.now_s += seconds
        self.waits_s.append(seconds)
        if self.now_s > 3600:
            raise asyncio.CancelledError


def unit_of(owner, name="u1"):
    return Unit(device_of(CONFIG, name), owner, Metrics(), {})


def query_of(unit):
    return Query(unit.device.plan(unit.device.decoded.values())[0])


async def watched(unit, clock):
    unit.leave(Lost("timeout", "no answer"))
    with pytest.raises(asyncio.CancelledError):
        await unit.watch(query_of(unit), clock)


async def test_dead_units_leave_a_shared_line_to_the_others():
    """One dead unit, or seven, each of which holds the line for a second: together they have no more than
    their share of it, but for the one question by which a lone unit may be back at once."""
    for count in (1, 7):
        owner = Line(Clock())
        units = [unit_of(owner, f"u{n}") for n in range(1, count + 1)]
        for unit in units:
            unit.leave(Lost("timeout", "no answer"))
        for unit in units:
            await watched(unit, Clock())
        assert owner.held_s - count <= 3600 * PROBE_SHARE * 1.05
        assert owner.held_s > 3600 * PROBE_SHARE / 2


async def test_a_unit_that_keeps_nobody_waiting_is_asked_often():
    """Over a connection of its own it is found within seconds, however long it was away."""
    clock = Clock()
    await watched(unit_of(Line(clock, stands_apart=True)), clock)
    assert clock.waits_s[0] <= FIRST_WAIT_S * 1.25
    assert max(clock.waits_s) <= LONGEST_WAIT_S * 1.25


async def test_what_waited_for_its_turn_while_the_unit_went_away_is_not_asked():
    """Polls of other intervals, that were in the queue, do not hold the line for a time-out each."""
    owner = Line(Clock())
    unit = unit_of(owner)
    ask = owner.ask

    async def after_a_while(*args, **terms):
        await asyncio.sleep(0)
        return await ask(*args, **terms)

    owner.ask = after_a_while
    polls = [asyncio.create_task(unit.read(query_of(unit))) for _ in range(5)]
    lost = await asyncio.gather(*polls, return_exceptions=True)
    assert [type(each) for each in lost] == [Lost] * 5
    assert owner.held_s == 1.0
