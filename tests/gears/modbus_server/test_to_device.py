"""The way of a SCADA station's write: our server, our poller, a real device, and the answer back."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from pymodbus.client import AsyncModbusTcpClient

from fluxrig.testing import context
from gears.io_modbus.config import MANIFEST as POLLER
from gears.io_modbus.config import Config as PollerConfig
from gears.io_modbus.gear import IoModbus
from gears.modbus_server.config import MANIFEST, Config
from gears.modbus_server.gear import ModbusServer
from racks.engine import Engine
from tests.gears.io_modbus.peers import start_server


@pytest.fixture
async def device():
    server, port = await start_server(1)
    yield server, port
    await server.shutdown()


@asynccontextmanager
async def connected(port, polled, served):
    """Give a client of our server, which serves what our poller reads from the devices."""
    poller = PollerConfig.model_validate({"endpoint": f"tcp://127.0.0.1:{port}", "every": "10ms", **polled})
    serving = {"listen": "tcp://127.0.0.1:0", "tags": served, "write_timeout": "10s"}
    gear = ModbusServer(Config.model_validate(serving), context("scada"))
    async with Engine() as engine:
        engine.add(IoModbus(poller, context("press")), POLLER)
        engine.add(gear, MANIFEST)
        engine.connect("press", "scada", queue=1000, when_full="drop_oldest")
        engine.connect("scada", "press")
        await engine.start()
        async with asyncio.timeout(10):
            while not gear.port:  # noqa: ASYNC110 - opening has no event
                await asyncio.sleep(0.005)
        client = AsyncModbusTcpClient("127.0.0.1", port=gear.port, timeout=10, retries=0, reconnect_delay=0)
        assert await client.connect()
        yield client
        client.close()


@pytest.fixture
async def station(device):
    read = {
        "speed": {"at": "holding/10", "write": True, "max": 200, "read_back": True},
        "gone": {"at": "holding/50000", "write": True},
    }
    served = {
        "speed": {"at": "holding/0", "write": True},
        "gone": {"at": "holding/1", "write": True},
    }
    async with connected(device[1], {"tags": read}, served) as client:
        yield client


async def reads(client, address, expected):
    """Wait until the station reads this."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.read_holding_registers(address, count=1)
            if not answer.isError() and answer.registers == [expected]:
                return
            await asyncio.sleep(0.005)


async def test_a_write_reaches_the_device_and_comes_back(device, station):
    """The device has it when the answer is there, and the station then reads what the device has."""
    server, _ = device
    await server.async_setValues(1, 3, 10, [60])
    await reads(station, 0, 60)
    answer = await station.write_register(0, 120)
    assert not answer.isError()
    assert await server.async_getValues(1, 3, 10, 1) == [120]
    await reads(station, 0, 120)


async def test_the_station_hears_when_the_device_did_not_take_it(device, station):
    """A value beyond the poller's limits gets exception 3, a register that the device lacks exception 4."""
    server, _ = device
    await server.async_setValues(1, 3, 10, [60])
    await reads(station, 0, 60)
    beyond, lacking = await station.write_register(0, 201), await station.write_register(1, 1)
    assert (beyond.exception_code, lacking.exception_code) == (3, 4)
    assert await server.async_getValues(1, 3, 10, 1) == [60]


async def test_devices_whose_tags_have_the_same_names_are_kept_apart():
    """`tag: north/speed` is read from the device north and written to it, whatever south has meanwhile."""
    server, port = await start_server(1, 2)
    await server.async_setValues(1, 3, 10, [60])
    await server.async_setValues(2, 3, 10, [70])
    speed = {"speed": {"at": "holding/10", "write": True}}
    devices = {name: {"unit": unit, "tags": speed} for unit, name in ((1, "north"), (2, "south"))}
    served = {
        name: {"at": f"holding/{number}", "tag": f"{name}/speed", "write": True}
        for number, name in enumerate(devices)
    }
    async with connected(port, {"devices": devices}, served) as client:
        await reads(client, 0, 60)
        await reads(client, 1, 70)
        assert not (await client.write_register(1, 90)).isError()
        assert await server.async_getValues(2, 3, 10, 1) == [90]
        assert await server.async_getValues(1, 3, 10, 1) == [60]
        await reads(client, 1, 90)
        await reads(client, 0, 60)
    await server.shutdown()
