"""Whose turn it is on a line that carries one request at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

_Waiting: TypeAlias = deque[asyncio.Future[None]]


class Turns:
    """Writes come first, then unit after unit: one with many requests does not keep the others waiting."""

    def __init__(self) -> None:
        self.busy = False
        self._urgent: _Waiting = deque()
        self._units: dict[int, _Waiting] = {}

    @asynccontextmanager
    async def turn(self, unit: int, *, urgent: bool = False) -> AsyncIterator[None]:
        """Hold the line."""
        if self.busy:
            await self._wait(self._urgent if urgent else self._units.setdefault(unit, deque()))
        self.busy = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, queue: _Waiting) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the line to who is next, or leave it free."""
        while (mine := self._next()) is not None:
            if not mine.done():
                mine.set_result(None)
                return
        self.busy = False

    def _next(self) -> asyncio.Future[None] | None:
        if self._urgent:
            return self._urgent.popleft()
        for unit in list(self._units):
            waiting = self._units.pop(unit)
            if waiting:
                first = waiting.popleft()
                if waiting:
                    self._units[unit] = waiting  # behind the other units
                return first
        return None
