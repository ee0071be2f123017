"""The way out of a gear: its output wires, its receipts, and where its rejections go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from fluxrig.errors import Fatal, FluxrigError, Stopped
from fluxrig.gear import ERROR_PORT, Batch, Context, Manifest, Outputs
from fluxrig.gear import Receipt as AnyReceipt
from fluxrig.message import FluxMsg
from racks.receipt import Receipt
from racks.record import Record
from racks.wire import InFlight, Wire

DeadLetters = Callable[[str, Sequence[FluxMsg]], Awaitable[None]]
"""Takes the rejections of the named gear to safety, or raises a FluxrigError."""

Receipts = tuple[Receipt, ...]


class Outlet:
    """Sends what comes of one gear."""

    def __init__(
        self,
        context: Context,
        manifest: Manifest,
        record: Record,
        in_flight: InFlight,
        dead_letters: DeadLetters,
    ) -> None:
        self.wires: dict[str, list[Wire]] = {port: [] for port in (*manifest.outputs, ERROR_PORT)}
        self._context = context
        self._kind = manifest.kind
        self._record = record
        self._in_flight = in_flight
        self._dead_letters = dead_letters

    async def emit(self, port: str, batch: Iterable[FluxMsg]) -> AnyReceipt:
        """What the gear's `run` is given: see `fluxrig.gear.Emit`."""
        receipt = Receipt()
        failure: FluxrigError | None = Stopped(f"{self._context.gear} stopped while it was emitting")
        try:
            await self._send(port, tuple(batch), (receipt,))
            failure = None
        finally:
            receipt.settle(failure)
        await asyncio.sleep(0)  # a source that never waits must still let the others work
        return receipt

    async def send(self, outputs: Outputs, receipts: Receipts) -> FluxrigError | None:
        """Send on what came of a batch, and give what kept a rejection from safety, if anything did."""
        for port, messages in outputs.ports.items():
            await self._send(port, tuple(messages), receipts)
        if outputs.rejected:
            return await self._reject(outputs.rejected, receipts)
        return None

    async def _send(self, port: str, batch: Batch, receipts: Receipts) -> None:
        if not batch:
            return
        if port not in self.wires:
            raise Fatal(f"{self._kind} has no output {port!r}; it has {', '.join(self.wires)}")
        for message in batch:
            if not isinstance(message, FluxMsg):
                raise Fatal(
                    f"{self._kind} put a {type(message).__name__} out of {port!r}; it must be a FluxMsg"
                )
        self._record.counters.emitted += len(batch)
        for wire in self.wires[port]:
            await wire.put(batch, receipts, self._in_flight)

    async def _reject(
        self, rejected: Sequence[tuple[FluxMsg, str]], receipts: Receipts
    ) -> FluxrigError | None:
        """Take rejections to the error port if it is wired, else to the dead letters."""
        self._record.counters.rejected += len(rejected)
        self._record.last_error = rejected[-1][1]
        letters = tuple(self._context.rejection(message, reason) for message, reason in rejected)
        if self.wires[ERROR_PORT]:
            await self._send(ERROR_PORT, letters, receipts)
            return None
        try:
            await self._dead_letters(self._context.gear, letters)
        except FluxrigError as error:
            self._context.log.error("%d messages have no dead letters to go to: %s", len(letters), error)
            return error
        return None
