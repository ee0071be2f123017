"""A pymodbus server in a thread with an event loop of its own, for commands that run one too."""

import asyncio
import logging
import threading

import pytest
import typer
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from typer.testing import CliRunner

from fluxrig.cli import console, modbus

FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


class Plant:
    """Units 1 and 5, with 16 bits in coil and discrete, holding 0-49 and 60-69, input 0-9."""

    UNITS = (1, 5)

    def __init__(self):
        logging.getLogger("pymodbus.logging").disabled = True  # what it says is not the commands' output
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._call(self._start())
        self.port = self._server.transport.sockets[0].getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self.port}"

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self):
        server = ModbusTcpServer([self._device(unit) for unit in self.UNITS], address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        return server

    def _device(self, unit):
        def registers(address, count):
            return SimData(address, count=count, values=0, datatype=DataType.REGISTERS)

        bits = [[SimData(0, values=[False] * 16, datatype=DataType.BITS)] for _ in range(2)]
        return SimDevice(unit, simdata=(*bits, [registers(0, 50), registers(60, 10)], [registers(0, 10)]))

    def put(self, table, address, *values, unit=1):
        self._call(self._server.async_setValues(unit, FUNCTIONS[table], address, list(values)))

    def get(self, table, address, count=1, unit=1):
        return self._call(self._server.async_getValues(unit, FUNCTIONS[table], address, count))

    def stop(self):
        self._call(self._server.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="session")
def shared_plant():
    plant = Plant()
    yield plant
    plant.stop()


@pytest.fixture
def plant(shared_plant):
    """The plant, all zero."""
    for unit in Plant.UNITS:
        for table, blocks in (("holding", ((0, 50), (60, 10))), ("input", ((0, 10),))):
            for start, count in blocks:
                shared_plant.put(table, start, *[0] * count, unit=unit)
        for table in ("coil", "discrete"):
            shared_plant.put(table, 0, *[False] * 16, unit=unit)
    return shared_plant


class Outcome:
    """What a command printed, and its exit code."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def fluxrig(capfd, monkeypatch):
    """Run `fluxrig modbus …` as the console script does."""
    app = typer.Typer()
    app.add_typer(modbus.app, name="modbus")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*argv):
        capfd.readouterr()
        code = console.run(app, ["modbus", *map(str, argv)])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def answer_a_prompt():
    """Run `fluxrig modbus …` with somebody at the keyboard who types this."""
    app = typer.Typer()
    app.add_typer(modbus.app, name="modbus")

    def run(*argv, typed):
        return CliRunner().invoke(app, ["modbus", *map(str, argv)], input=typed)

    return run
