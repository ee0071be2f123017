"""The Rack's side of a worker: a gear that has another process do its work."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple, NoReturn

from fluxrig.clock import SystemClock
from fluxrig.errors import BadMessage, Disconnected, EncodeError, Fatal
from fluxrig.gear import OUT, Batch, Context, Emit, Gear, GearConfig, Manifest, Outputs, Receipt
from fluxrig.message import FluxMsg
from racks.worker.frames import Piece, item, pieces, trouble
from racks.worker.link import Call, Link, LinkLost, Parts
from racks.worker.process import Process

CLOSE_S: Final = 3.0
"""How long the gear may take to close, before its worker is killed."""
REJECTED: Final = ""
"""The port, which no gear can have, for rejected messages that the gear made itself."""


class Worker(NamedTuple):
    process: Process
    link: Link


class Isolated(Gear[GearConfig]):
    """Runs the gear of a manifest in a worker, which lives until `dismiss`, or until it dies.

    A worker that dies is `Disconnected`: the engine backs off and opens, which starts another. The batch that
    it had is offered again, so a gear with effects outside of fluxrig may see a batch twice.
    """

    def __init__(self, manifest: Manifest, config: GearConfig, context: Context) -> None:
        """The gear tells time by the system's clock, whichever the context has."""
        super().__init__(config, context)
        self._manifest = manifest
        self._worker: Worker | None = None
        self._emit: Emit | None = None
        self._receipts: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The worker's process id while there is one."""
        return self._worker.process.pid if self._worker and not self._worker.link.lost.is_set() else None

    # --- the gear's life --------------------------------------------------------------------------

    async def open(self) -> None:
        if self.pid is None:
            await self.dismiss()
            await self._start()
        await self._call("open")

    async def close(self) -> None:
        """Have the gear closed; its worker stays, and with it what the gear remembers."""
        if self.pid is None:
            return
        with suppress(Disconnected):
            async with asyncio.timeout(CLOSE_S):
                await self._call("close")

    async def dismiss(self) -> None:
        """End the worker. Called twice is fine."""
        worker, self._worker = self._worker, None
        for task in self._receipts:
            task.cancel()
        if worker is not None:
            worker.link.close()
            await worker.process.end()

    async def died(self) -> NoReturn:
        """Wait for the worker's death, and raise Disconnected."""
        worker = self._present()
        await worker.link.lost.wait()
        raise Disconnected(await worker.process.obituary())

    async def run(self, emit: Emit) -> None:
        self._emit = emit
        await self._call("run")

    async def process(self, batch: Batch, port: str) -> Outputs:
        rejected, parts = await self._call("process", port, port=port, pieces=_pieces(batch))
        made = parts.pop(REJECTED, [])
        outputs = Outputs()
        outputs.ports = {OUT: [], **parts}
        outputs.rejected = [(_message_at(index, batch, made), reason) for index, reason in rejected]
        return outputs

    # --- the worker -------------------------------------------------------------------------------

    async def _start(self) -> None:
        try:
            built = pickle.dumps((self._manifest, self.config, self._outside_context(), _levels()))
        except Exception as error:
            raise Fatal(f"its settings can't go to a worker process: {error}") from error
        process, ours = await Process.start(self.context.src, self.context.log)
        try:
            link = Link(self._answer, silent=lambda: process.kill("it did not answer"))
            self._worker = Worker(process, link)
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
            self.max_batch = await self._build(built)  # type: ignore[misc]  # as this gear's class has it
        except BaseException:
            await self.dismiss()
            raise

    def _outside_context(self) -> Context:
        return replace(self.context, clock=SystemClock())

    async def _build(self, built: bytes) -> int:
        max_batch, _ = await self._call("build", built)
        return int(max_batch)

    def _present(self) -> Worker:
        if self._worker is None:
            raise Disconnected("it has no worker")
        return self._worker

    async def _call(
        self, method: str, *arguments: Any, port: str = "", pieces: Iterable[Piece] = ()
    ) -> tuple[Any, Parts]:
        worker = self._present()
        try:
            return await worker.link.call(method, *arguments, port=port, pieces=pieces)
        except LinkLost:
            raise Disconnected(await worker.process.obituary()) from None

    # --- what the worker asks for -----------------------------------------------------------------

    async def _answer(self, call: Call) -> None:
        """Emit for the worker, which gets word at once that the batch has room, and later its receipt."""
        port, ticket = call.arguments
        if self._emit is None or self._worker is None:
            raise Fatal("the gear emits outside of `run`")
        receipt = await self._emit(port, call.parts.get(port, ()))
        task = asyncio.create_task(_relay(receipt, ticket, self._worker.link), name="worker receipt")
        self._receipts.add(task)
        task.add_done_callback(self._receipts.discard)


async def _relay(receipt: Receipt, ticket: int, link: Link) -> None:
    found = None
    try:
        await receipt
    except Exception as error:  # noqa: BLE001 - whatever kept the batch from safety, its source is to know
        found = trouble(error)
    with suppress(LinkLost):
        await link.send("receipt", ticket, found)


def _pieces(batch: Batch) -> Iterator[Piece]:
    try:
        yield from pieces(map(item, batch))
    except EncodeError as error:
        raise BadMessage(f"the message has no encoding: {error}") from error


def _message_at(index: int, batch: Batch, made: Sequence[FluxMsg]) -> FluxMsg:
    return batch[index] if index < len(batch) else made[index - len(batch)]


def _levels() -> tuple[int, int]:
    """What is logged: in general, and of fluxrig."""
    return logging.getLogger().level, logging.getLogger("fluxrig").getEffectiveLevel()
