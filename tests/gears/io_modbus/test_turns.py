"""Whose turn it is."""

import asyncio

from gears.io_modbus.turns import Turns


async def play(*askers):
    """Let askers, pairs of a unit and whether it is urgent, queue up in order, and give who came when."""
    turns, came = Turns(), []

    async def ask(unit, urgent):
        async with turns.turn(unit, urgent=urgent):
            came.append((unit, urgent))
            await asyncio.sleep(0)

    async with turns.turn(0):
        tasks = [asyncio.create_task(ask(*asker)) for asker in askers]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert not turns.busy
    return came


async def test_units_take_turns():
    """One unit with many requests lets each of the others through after one of its own."""
    came = await play(*[(1, False)] * 4, (2, False), (3, False))
    assert [unit for unit, _ in came] == [1, 2, 3, 1, 1, 1]


async def test_what_is_urgent_comes_first():
    """However many are waiting, in the order of asking."""
    came = await play((1, False), (2, False), (3, True), (1, True))
    assert came == [(3, True), (1, True), (1, False), (2, False)]


async def test_who_gives_up_waiting_keeps_nobody_waiting():
    """A cancelled asker, also one whose turn has just come, passes it on."""
    for rounds in range(4):
        turns = Turns()
        async with turns.turn(0):
            first = asyncio.create_task(hold(turns, 1))
            second = asyncio.create_task(hold(turns, 2))
            await asyncio.sleep(0)
        for _ in range(rounds):
            await asyncio.sleep(0)
        first.cancel()
        async with asyncio.timeout(5):
            await second
            await asyncio.gather(first, return_exceptions=True)
        assert not turns.busy


async def hold(turns, unit):
    async with turns.turn(unit):
        await asyncio.sleep(0)
