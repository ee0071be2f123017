"""The devices of `fluxrig bench poll`, one process: `python -m fluxrig.cli.bench.poll_device CASE`.

They answer function 3 from tables that are ready, so that the device is not what is measured, and note when
each poll began and ended. CASE is the JSON of a `Case`. Prints `{"ports": […]}`, then `{"polling": true}`
once each device was polled a few times, and on SIGTERM `{"polls": [[[began_ns, ended_ns], …], …]}` on the
clock that never steps.
"""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import sys
import time
from array import array
from functools import partial
from typing import Any, Final

from fluxrig.cli.bench.neighbour_device import go_first
from fluxrig.cli.bench.poll_case import PHASES, Case, from_facts, registers

WARM: Final = 3
"""Polls of each device before the load counts as running."""
MAX_POLLS: Final = 1_000_000
"""Polls of one device that are noted; a longer run is not what this is for."""

_READ_HOLDING: Final = 3
_MAX_REGISTERS: Final = 125
_REQUEST: Final = struct.Struct(">HHHBBHH")
_HEAD: Final = struct.Struct(">HHHBBB")
_REFUSAL: Final = struct.Struct(">HHHBBB")


class Device:
    """One device: its pictures, which is shown, and when each poll of it began and ended."""

    def __init__(self, pictures: list[bytes]) -> None:
        self.began = array("q")
        self.ended = array("q")
        self._pictures = pictures
        self._shown = pictures[0]

    def answer(self, request: bytes) -> bytes:
        """Answer one whole frame. A read from address 0 begins a poll, and shows the next picture."""
        transaction, _, _, unit, function, start, count = _REQUEST.unpack_from(request)
        if function != _READ_HOLDING:
            return _refusal(transaction, unit, function, 1)
        if not 1 <= count <= _MAX_REGISTERS:
            return _refusal(transaction, unit, function, 3)
        if 2 * (start + count) > len(self._shown):
            return _refusal(transaction, unit, function, 2)
        now_ns = time.monotonic_ns()
        if start == 0 and len(self.began) < MAX_POLLS:
            self._shown = self._pictures[len(self.began) % len(self._pictures)]
            self.began.append(now_ns)
            self.ended.append(now_ns)
        elif self.ended:
            self.ended[-1] = now_ns
        size = 2 * count
        head = _HEAD.pack(transaction, 0, size + 3, unit, function, size)
        return head + self._shown[2 * start : 2 * start + size]


def _refusal(transaction: int, unit: int, function: int, code: int) -> bytes:
    return _REFUSAL.pack(transaction, 0, 3, unit, function | 0x80, code)


class Connection(asyncio.Protocol):
    """Serves one connection: every request of this load is one frame of 12 bytes."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) // _REQUEST.size * _REQUEST.size
        for at in range(0, whole, _REQUEST.size):
            self._transport.write(self._device.answer(data[at : at + _REQUEST.size]))
        self._rest = data[whole:]


async def serve(case: Case) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    go_first()
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    devices, servers = [], []
    for connection in range(case.connections):
        device = Device([registers(case, connection, phase) for phase in range(PHASES)])
        devices.append(device)
        servers.append(await loop.create_server(partial(Connection, device), "127.0.0.1", 0))
    _say({"ports": [server.sockets[0].getsockname()[1] for server in servers]})
    warming = asyncio.create_task(_tell_when_warm(devices))
    await told.wait()
    warming.cancel()
    polls = [list(zip(device.began, device.ended, strict=True)) for device in devices]
    _say({"polls": polls})


async def _tell_when_warm(devices: list[Device]) -> None:
    # Looked at rarely, so that answering pays nothing for it.
    while any(len(device.began) < WARM for device in devices):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    _say({"polling": True})


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(from_facts(json.loads(sys.argv[1]))))
