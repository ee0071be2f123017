"""A workbench for one gear: a context to build it with, and an `emit` that keeps what it hands on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from fluxrig.clock import Clock, SystemClock
from fluxrig.errors import FluxrigError
from fluxrig.gear import OUT, Context, Receipt
from fluxrig.message import FluxMsg


def context(gear: str = "gear", *, clock: Clock | None = None) -> Context:
    """Give the context of a gear on a Rack called `rack` at `acme/lyon`."""
    return Context(rack="rack", gear=gear, uns=f"acme/lyon/{gear}", clock=clock or SystemClock())


class Workbench:
    """Collects what a source emits. By default a receipt settles at once; set `hold` to settle by hand."""

    def __init__(self, *, hold: bool = False) -> None:
        self.emitted: dict[str, list[FluxMsg]] = defaultdict(list)
        self.receipts: list[asyncio.Future[None]] = []
        self._hold = hold
        self._arrived = asyncio.Event()

    @property
    def out(self) -> list[FluxMsg]:
        return self.emitted[OUT]

    async def emit(self, port: str, batch: Iterable[FluxMsg]) -> Receipt:
        self.emitted[port].extend(batch)
        self._arrived.set()
        receipt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.receipts.append(receipt)
        if not self._hold:
            receipt.set_result(None)
        await asyncio.sleep(0)
        return receipt

    def settle(self, error: FluxrigError | None = None) -> None:
        """Settle every receipt given so far."""
        for receipt in self.receipts:
            if not receipt.done():
                receipt.set_exception(error) if error else receipt.set_result(None)

    async def wait_for(self, messages: int, port: str = OUT, limit_s: float = 10.0) -> list[FluxMsg]:
        """Wait until so many messages came out of `port`, and give all that did."""
        async with asyncio.timeout(limit_s):
            while len(self.emitted[port]) < messages:
                self._arrived.clear()
                await self._arrived.wait()
        return self.emitted[port]

    async def first_or_end(self, task: asyncio.Task[None], limit_s: float) -> None:
        """Wait for the first message, or for `task` to end."""
        arrived = asyncio.ensure_future(self._arrived.wait())
        await asyncio.wait({task, arrived}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
