"""Modbus peers on loopback: a real pymodbus server, and a device whose every byte the test decides."""

import asyncio
import contextlib
import struct

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from fluxrig.testing import Workbench, context
from gears.io_modbus.config import Config
from gears.io_modbus.gear import IoModbus
from gears.io_modbus.terms import Lost

UNIT = 1
FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


class Plant:
    """A pymodbus server with 64 bits and 200 registers in each table, 100 to 109 of `holding` missing."""

    def __init__(self):
        self.server = None
        self.port = 0

    async def start(self):
        bits = [[SimData(0, values=[False] * 64, datatype=DataType.BITS)] for _ in range(2)]
        holding = [self._registers(0, 100), self._registers(110, 90)]
        device = SimDevice(UNIT, simdata=(*bits, holding, [self._registers(0, 200)]))
        self.server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self.server.serve_forever(background=True)
        self.port = self.server.transport.sockets[0].getsockname()[1]

    def _registers(self, start, count):
        return SimData(start, count=count, values=0, datatype=DataType.REGISTERS)

    async def stop(self):
        await self.server.shutdown()

    async def put(self, table, address, *values):
        await self.server.async_setValues(UNIT, FUNCTIONS[table], address, list(values))

    def kill_connections(self):
        for connection in list(self.server.active_connections.values()):
            connection.transport.abort()


class ScriptedDevice:
    """A raw TCP server. `script(number, request)` gives the bytes to send, or None to stay silent.

    `number` counts requests over all connections, from 0.
    """

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.connections = 0
        self.gone = asyncio.Event()
        self._writers = set()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(6)
                request += await reader.readexactly(int.from_bytes(request[4:6]))
                self.requests.append(request)
                answer = self.script(len(self.requests) - 1, request)
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer is not None:
                    writer.write(answer)
        self.gone.set()
        writer.close()

    async def stop(self):
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)


def frame(request, payload, *, transaction=None, protocol=0, unit=None, function=None, length=None):
    """The right answer to a read request, but for what is named."""
    tid, _, _, asked_unit, asked_function = struct.unpack_from(">HHHBB", request)
    body = bytes([len(payload)]) + payload
    return (
        struct.pack(
            ">HHHBB",
            tid if transaction is None else transaction,
            protocol,
            len(body) + 2 if length is None else length,
            asked_unit if unit is None else unit,
            asked_function if function is None else function,
        )
        + body
    )


def refusal(request, code):
    """An exception response."""
    tid, _, _, unit, function = struct.unpack_from(">HHHBB", request)
    return struct.pack(">HHHBBB", tid, 0, 3, unit, function | 0x80, code)


class Rig:
    """A gear at work, and a list of the requests that got no right answer."""

    def __init__(self, gear):
        self.gear = gear
        self.bench = Workbench()
        self.losses = []
        self._task = None

    async def start(self):
        await self.gear.open()
        for unit in self.gear.units.values():
            unit.ask = self._noting(unit.ask)
        self._task = asyncio.create_task(self.gear.run(self.bench.emit))

    def _noting(self, ask):
        async def noting(request, **terms):
            try:
                return await ask(request, **terms)
            except Lost as lost:
                self.losses.append(lost)
                raise

        return noting

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.gear.close()

    @property
    def out(self):
        return self.bench.out

    @property
    def news(self):
        return [message.data["event"] for message in self.bench.emitted["error"]]

    @property
    def events(self):
        """The news but for overruns, which a busy machine makes on its own."""
        return [event for event in self.news if event != "overrun"]

    async def until(self, condition):
        """Wait until a message satisfies the condition, and give the first that does."""
        seen = 0
        async with asyncio.timeout(30):
            while True:
                for message in self.out[seen:]:
                    seen += 1
                    if condition(message):
                        return message
                await self.bench.wait_for(seen + 1)

    async def until_true(self, condition):
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - the peers' state has no event to wait for
                await asyncio.sleep(0.005)


@pytest.fixture
async def plant():
    plant = Plant()
    await plant.start()
    yield plant
    await plant.stop()


@pytest.fixture
async def scripted():
    """Start a device that follows a script."""
    devices = []

    async def start(script):
        device = ScriptedDevice(script)
        await device.start()
        devices.append(device)
        return device

    yield start
    for device in devices:
        await device.stop()


@pytest.fixture
async def poll():
    """Start a gear that polls a port, often, and with patience."""
    rigs = []

    async def start(port, tags, **values):
        defaults = {"endpoint": f"tcp://127.0.0.1:{port}", "every": "10ms", "response_timeout": "10s"}
        config = Config.model_validate({**defaults, **values, "tags": tags})
        rig = Rig(IoModbus(config, context("press")))
        await rig.start()
        rigs.append(rig)
        return rig

    yield start
    for rig in rigs:
        await rig.stop()


@pytest.fixture
def answers():
    """What a scripted device can say: a frame, or a refusal."""
    return frame, refusal
