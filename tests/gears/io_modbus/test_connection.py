"""One connection: what it gives, and that it is of no use once it was lost."""

import asyncio
import struct

import pytest

from gears.io_modbus.connection import Connection, Lost, Refusal


@pytest.fixture
async def connect():
    connections = []

    async def start(port, timeout_s=1.0):
        connection = Connection("127.0.0.1", port, 1, timeout_s)
        connections.append(connection)
        await connection.open()
        return connection

    yield start
    for connection in connections:
        connection.close()
        connection.close()


async def test_a_refusal_leaves_the_connection_as_it_is(plant, connect):
    """An exception response is an answer: the next read works."""
    await plant.put("holding", 3, 1, 2)
    connection = await connect(plant.port)
    with pytest.raises(Refusal) as caught:
        await connection.read("holding", 100, 1)
    assert caught.value.code == 2
    assert await connection.read("holding", 3, 2) == [1, 2]


async def test_bits_are_as_many_as_asked_for(plant, connect):
    """Bits come packed by eight; what is beyond the count is cut off."""
    await plant.put("coil", 0, True, False, True, True, False, False, False, False, True, True)
    connection = await connect(plant.port)
    assert await connection.read("coil", 0, 9) == [1, 0, 1, 1, 0, 0, 0, 0, 1]


async def test_a_lost_connection_is_closed_and_stays_lost(scripted, connect, answers):
    """The peer sees the end at once, and no later read gives anything."""
    frame, _ = answers
    device = await scripted(
        lambda number, request: frame(
            request, struct.pack(">H", number), transaction=99 if number == 1 else None
        )
    )
    connection = await connect(device.port)
    assert await connection.read("holding", 0, 1) == [0]
    for _ in range(2):
        with pytest.raises(Lost, match="transaction id 99 instead of 2") as caught:
            await connection.read("holding", 0, 1)
        assert caught.value.reason == "wrong_answer"
    async with asyncio.timeout(5):
        await device.gone.wait()
    assert len(device.requests) == 2


async def test_a_cancelled_read_leaves_no_task(scripted, connect):
    """Whoever waits may be cancelled at any time."""
    device = await scripted(lambda number, request: None)
    connection = await connect(device.port, timeout_s=3600.0)
    before = asyncio.all_tasks()
    reading = asyncio.create_task(connection.read("holding", 0, 1))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert {task for task in asyncio.all_tasks() - before if task.get_coro().__name__ != "_serve"} == set()
