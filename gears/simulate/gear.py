"""The gear: makes batches on schedule, and journals those that settled."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from fluxrig.cbor import OPEN, pieces
from fluxrig.cbor.head import head
from fluxrig.codec import Carried
from fluxrig.errors import Fatal, FluxrigError
from fluxrig.gear import OUT, Batch, Context, Emit, Gear, Receipt
from fluxrig.message import TAGS, new_id
from gears.simulate.config import Config
from gears.simulate.journal import Journal, Settled
from gears.simulate.signals import values_at


class UnderWay(NamedTuple):
    settled: Settled
    receipt: Receipt


class Simulate(Gear[Config]):
    """Numbers its messages from 0 in each run; `run` tells runs apart."""

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.failed = 0
        """Batches of the present run whose receipt raised."""
        self._journal: Journal | None = None
        self._fault: OSError | None = None

    async def open(self) -> None:
        if self.config.journal is not None and self._journal is None:
            try:
                self._journal = Journal(self.config.journal)
            except OSError as error:
                raise Fatal(f"can't write the journal: {error}") from error

    async def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    async def run(self, emit: Emit) -> None:
        self.failed, self._fault = 0, None
        window: asyncio.Queue[UnderWay] = asyncio.Queue(self.config.window)
        settler = asyncio.create_task(self._settle(window), name=f"{self.context.src} settler")
        try:
            await self._produce(emit, window)
            await window.join()
        finally:
            settler.cancel()
            await asyncio.gather(settler, return_exceptions=True)
        self._check()

    async def _produce(self, emit: Emit, window: asyncio.Queue[UnderWay]) -> None:
        clock, run, first = self.context.clock, self.context.clock.now_ns(), 0
        start_ns = clock.monotonic_ns()
        while (size := self._size(first)) > 0:
            await clock.sleep(self._due_s(first) - (clock.monotonic_ns() - start_ns) / 1e9)
            self._check()
            receipt = await emit(OUT, self._batch(run, first, size))
            await window.put(UnderWay(Settled(run, first, first + size - 1), receipt))
            first += size

    def _size(self, made: int) -> int:
        """How many messages the next batch has, 0 at the end."""
        left = self.config.batch if self.config.count is None else self.config.count - made
        return min(self.config.batch, left)

    def _due_s(self, seq: int) -> float:
        """When a message is due, in seconds from the start: counted from there, so errors do not add up."""
        return 0.0 if self.config.rate == "max" else seq / self.config.rate

    def _batch(self, run: int, first: int, size: int) -> Batch:
        """Make messages that differ in id and number alone: what they share is encoded once."""
        ts = self.context.clock.now_ns()
        data = {"run": run, "seq": OPEN, **values_at(self.config.tags, ts)}
        uns = self.context.uns
        to_id, to_seq, rest = pieces(
            {"id": OPEN, "ts": ts, "src": self.context.src, "uns": uns, "schema": TAGS, "data": data}
        )
        to_id += head(2, 16)
        return tuple(
            Carried(b"".join((to_id, new_id(ts), to_seq, head(0, seq), rest)), uns)
            for seq in range(first, first + size)
        )

    async def _settle(self, window: asyncio.Queue[UnderWay]) -> None:
        """Await the receipts in order and journal what settled; after a failure of the journal, only wait."""
        while True:
            settled, receipt = await window.get()
            try:
                await receipt
                if self._journal is not None and self._fault is None:
                    self._journal.add(settled)
            except FluxrigError as error:
                self.failed += 1
                self.context.log.warning("messages %d to %d failed: %s", settled.first, settled.last, error)
            except OSError as error:
                self._fault = error
            finally:
                window.task_done()

    def _check(self) -> None:
        if self._fault is not None:
            raise Fatal(f"can't write the journal: {self._fault}")
