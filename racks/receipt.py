"""Receipts: how a source learns that all that came of a batch is safe.

A receipt counts the deliveries that descend from one emitted batch: each copy made by fan-out, each batch
that a gear derived. It resolves when the last of them is settled, never before, and raises the first failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from fluxrig.errors import FluxrigError


class Receipt:
    """Awaitable. It starts with one hold, the emitter's own, released when every wire has its copy."""

    __slots__ = ("_error", "_future", "_holds")

    def __init__(self) -> None:
        self._holds = 1
        self._error: FluxrigError | None = None
        self._future: asyncio.Future[None] | None = None

    @property
    def done(self) -> bool:
        return self._holds == 0

    def hold(self) -> None:
        """One more delivery descends from the batch."""
        if self.done:
            raise RuntimeError("a settled receipt can't be held again")
        self._holds += 1

    def settle(self, error: FluxrigError | None = None) -> None:
        """One delivery is stored, filtered or rejected to safety; or it failed with `error`."""
        if self.done:
            raise RuntimeError("a receipt was settled more often than it was held")
        self._error = self._error or error
        self._holds -= 1
        if self._holds == 0 and self._future is not None and not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[object, None, None]:
        if not self.done:
            if self._future is None or self._future.cancelled():
                self._future = asyncio.get_running_loop().create_future()
            yield from asyncio.shield(self._future).__await__()
        if self._error is not None:
            raise self._error
