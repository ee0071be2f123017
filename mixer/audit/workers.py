"""Processes that turn stored messages into rows, because one core of Python is not enough for a flood.

They start when there is much to do, and they know nothing: each part is made as if nothing came before, and
whoever keeps the marks sees whether that was so.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any, Final

from fluxrig.bus import Stored
from mixer.audit.origin import Marks
from mixer.audit.tabulate import Tabulated, tabulate

PART_BYTES: Final = 4 << 20
"""Of payload in a part. Smaller ones are made at hand."""
_MUCH_BYTES: Final = 1 << 20
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)

_log = logging.getLogger("fluxrig.audit")


class Workers:
    """Makes parts of a run of stored messages, several at a time."""

    def __init__(self, count: int = 0) -> None:
        """`count` processes at most; 0 is one a core, four at most."""
        self.count = count or min(4, os.cpu_count() or 1)
        self._pool: ProcessPoolExecutor | None = None

    async def tabulate(self, stream: str, stored: Sequence[Stored]) -> Tabulated:
        """Make the rows of some messages as if none came before."""
        if sum(len(item.payload) for item in stored) < _MUCH_BYTES:
            return await asyncio.to_thread(tabulate, stream, stored, Marks())
        packed = [(item.seq, item.subject, item.payload, item.headers, item.time_ns) for item in stored]
        try:
            return await asyncio.get_running_loop().run_in_executor(self._running(), _work, stream, packed)
        except BrokenExecutor:
            _log.warning("%s: a worker process ended; its part is made again", stream)
            self.close()
            return await asyncio.to_thread(tabulate, stream, stored, Marks())

    def close(self) -> None:
        """End the processes."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, context, _start, (os.getpid(),))
        return self._pool


def parts(stored: Sequence[Stored]) -> Iterator[Sequence[Stored]]:
    """Cut messages into parts for the workers."""
    start = size = 0
    for end, item in enumerate(stored, 1):
        size += len(item.payload)
        if size >= PART_BYTES:
            yield stored[start:end]
            start, size = end, 0
    if start < len(stored):
        yield stored[start:]


def _start(parent_pid: int) -> None:
    """Prepare a process: it ends with its parent, leaves Ctrl-C to it, and collects no garbage."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)
    gc.disable()


def _work(stream: str, packed: list[tuple[Any, ...]]) -> Tabulated:
    run = tabulate(stream, [Stored(*item) for item in packed], Marks())
    gc.collect(0)
    return run
