"""Waiting to the tenth of a millisecond. asyncio's own timers go by whole milliseconds, rounded up, which is
much for a poll every 5 ms; the kernel's timers (timerfd_create(2)) are exact, and keep no core busy."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from typing import Any, Final

from fluxrig.clock import Clock, SystemClock

_MONOTONIC: Final = 1
_FLAGS: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class _Time(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (("interval", _Time), ("value", _Time))


class Timer:
    """Waits for times of a clock. Without an exact timer, or with a test's clock, the clock itself waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fd = -1
        self._due: asyncio.Future[None] | None = None
        if _libc is not None and isinstance(clock, SystemClock):
            self._fd = _libc.timerfd_create(_MONOTONIC, _FLAGS)
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._wake)

    async def until(self, monotonic_ns: int) -> None:
        """Wait until the clock shows this time; a time that is past still lets other tasks run once."""
        wait_ns = monotonic_ns - self._clock.monotonic_ns()
        if wait_ns <= 0 or self._fd < 0 or not self._set(monotonic_ns):
            await self._clock.sleep(wait_ns / 1e9)
            return
        self._due = asyncio.get_running_loop().create_future()
        await self._due

    def close(self) -> None:
        """Give the timer back; twice is fine."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _set(self, monotonic_ns: int) -> bool:
        setting = _Setting(_Time(0, 0), _Time(*divmod(monotonic_ns, 1_000_000_000)))
        libc: Any = _libc
        return libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(setting), None) == 0  # type: ignore[no-any-return]

    def _wake(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        if self._due is not None and not self._due.done():
            self._due.set_result(None)
