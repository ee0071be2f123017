"""The Modbus commands over a serial line, a pseudo-terminal of the system with an RTU server at its end."""

import asyncio
import threading

import pytest
from pymodbus import FramerType

from tests.gears.io_modbus.peers import PtyBridge, start_server


class SerialDevice:
    """Unit 7 on a pseudo-terminal, in a thread with an event loop of its own."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._call(self._start())
        self.url = f"rtu://{self._bridge.path}?baud=115200"

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self):
        self._server, port = await start_server(7, framer=FramerType.RTU)
        self._bridge = PtyBridge(port)
        await self._bridge.start()
        await self._server.async_setValues(7, 3, 0, [0x4086, 0x6666])

    async def _end(self):
        await self._bridge.stop()
        await self._server.shutdown()

    def stop(self):
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def device():
    device = SerialDevice()
    yield device
    device.stop()


def test_one_command_after_the_other(device, fluxrig):
    """A serial line that another command had opened before is opened again, also where it can't do parity."""
    for _ in range(3):
        ran = fluxrig("read", device.url, "holding/0", "-t", "float32", "-u", 7)
        assert (ran.code, ran.out.split()[1]) == (0, "4.2"), ran.err
    ran = fluxrig("write", device.url, "coil/1", "on", "-u", 7, "-y")
    assert (ran.code, ran.out) == (0, "coil/1 now reads true\n"), ran.err
