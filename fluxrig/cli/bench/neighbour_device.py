"""A Modbus device that notes when each request came: what the poller's punctuality is measured by."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from math import ceil
from types import TracebackType
from typing import Final, Self

from fluxrig.errors import FluxrigError

_HEADER: Final = struct.Struct(">HHHBB")
"""MBAP header and function code (Modbus Messaging on TCP/IP §3.1.3)."""
_BACKLOG: Final = 4
_PRIORITY: Final = 10
"""Of real time; a Rack has 1."""


class Device:
    """Answers reads of registers with zeros, one client after another, in a thread of its own."""

    def __init__(self) -> None:
        self.arrivals_ns: list[int] = []
        """When requests came, ns since an arbitrary start."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        go_first()
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        while request := client.recv(260):
            self.arrivals_ns.append(time.perf_counter_ns())
            client.sendall(answer(request))


def go_first() -> None:
    """Have this thread run before all others, the Rack's too, if we may: a device has a CPU of its own."""
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))


def answer(request: bytes) -> bytes:
    """Answer a read of registers with zeros."""
    tid, _, _, unit, function = _HEADER.unpack_from(request)
    (quantity,) = struct.unpack_from(">H", request, 10)
    data = bytes([2 * quantity]) + bytes(2 * quantity)
    return _HEADER.pack(tid, 0, 2 + len(data), unit, function) + data


def off_us(arrivals_ns: Sequence[int], period_ns: int) -> list[float]:
    """Give how far the time between each two requests was from the period, in µs."""
    return [abs(later - earlier - period_ns) / 1000 for earlier, later in pairwise(arrivals_ns)]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Give p50, p99 and p99.9 (nearest rank), and the largest."""
    if not values:
        raise FluxrigError("the poller did not poll twice; measure for longer")
    ranked = sorted(values)
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}
    return {name: round(ranked[ceil(share * len(ranked)) - 1], 1) for name, share in shares.items()}
