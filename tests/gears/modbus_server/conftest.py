"""A server that listens on a free port of loopback, and the clients of others to it."""

import asyncio
import contextlib

import pytest
from pymodbus.client import AsyncModbusTcpClient

from fluxrig.testing import ManualClock, Workbench, context
from gears.modbus_server.config import Config
from gears.modbus_server.gear import ModbusServer


class Served:
    """A gear at work, as the engine would have it."""

    def __init__(self, gear, bench):
        self.gear = gear
        self.bench = bench
        self._task = None

    @property
    def port(self):
        return self.gear.port

    async def start(self):
        await self.gear.open()
        self._task = asyncio.create_task(self.gear.run(self.bench.emit))
        await asyncio.sleep(0)

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.gear.close()

    async def put(self, data, *, meta=None, gear="press"):
        message = context(gear).message(data, meta=meta)
        await self.gear.process((message,), "in")


@pytest.fixture
async def serve():
    """Start a server of tags, by default on a clock that stands still."""
    running = []

    async def start(tags, *, bench=None, clock=None, **values):
        config = Config.model_validate({"listen": "tcp://127.0.0.1:0", "tags": tags, **values})
        made = context("scada", clock=clock or ManualClock())
        served = Served(ModbusServer(config, made), bench or Workbench())
        await served.start()
        running.append(served)
        return served

    yield start
    for served in running:
        await served.stop()


@pytest.fixture
async def connect():
    """Connect pymodbus's client to a server."""
    clients = []

    async def start(served):
        client = AsyncModbusTcpClient("127.0.0.1", port=served.port, timeout=10, retries=0, reconnect_delay=0)
        assert await client.connect()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.close()


@pytest.fixture
async def dial():
    """Open a plain socket to a server, for what no client would send."""
    writers = []

    async def start(served):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writers.append(writer)
        return reader, writer

    yield start
    for writer in writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
