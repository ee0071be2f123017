"""One gear at work: its life cycle, what reaches it, what comes of it, and what happens when it fails.

| the gear raises | from | the engine does |
|---|---|---|
| `NotReady`, `Disconnected` | anywhere | closes it, backs off, opens it; a batch at hand is offered again |
| anything unexpected | `open`, `run` | the same |
| `BadMessage` | `process` | offers the messages one by one; the bad one goes to `error` or the dead letters |
| anything unexpected | `process` | the same: one message must not stop those behind it |
| nothing, beyond its `timeout` | `process` | cancels it, rejects the batch, closes and opens the gear |
| `EndOfStream` | `run` | takes it as the end of the source |
| `Fatal` | anywhere | stops it; what still reaches it is rejected, with the reason |

A gear with `isolate: process` fails in the same ways; the death of its worker is `Disconnected`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fluxrig.errors import BadMessage, Disconnected, EndOfStream, Fatal, FluxrigError, NotReady, Stopped
from fluxrig.gear import ERROR_PORT, Batch, Context, Gear, Manifest, Outputs
from fluxrig.gear import Receipt as AnyReceipt
from fluxrig.message import FluxMsg
from fluxrig.tasks import end
from racks.backoff import SETTLED_S, Backoff
from racks.receipt import Receipt
from racks.wire import Delivery, Inbox, InFlight, Wire
from racks.worker.isolated import Isolated

CLOSE_S = 5.0
OPEN_S = 30.0

DeadLetters = Callable[[str, Sequence[FluxMsg]], Awaitable[None]]
"""Takes the rejections of the named gear to safety, or raises a FluxrigError."""


class State(StrEnum):
    """Where a gear is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting to try again"
    ENDED = "at its end"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(slots=True)
class Counters:
    """What one gear has done since the Rack started, in messages unless said otherwise."""

    received: int = 0
    emitted: int = 0
    rejected: int = 0
    errors: int = 0
    """Failures of the gear itself."""
    opened: int = 0
    """Times the gear was opened."""
    process_s: float = 0.0


class Node:
    """Runs one gear."""

    def __init__(
        self,
        gear: Gear[Any],
        manifest: Manifest,
        *,
        timeout_s: float | None,
        in_flight: InFlight,
        dead_letters: DeadLetters,
        backoff: Backoff | None = None,
        observe: Callable[[float], None] | None = None,
    ) -> None:
        self.gear = gear
        self.manifest = manifest
        self.inbox = Inbox()
        self.outputs: dict[str, list[Wire]] = {port: [] for port in (*manifest.outputs, ERROR_PORT)}
        self.counters = Counters()
        self.state = State.STARTING
        self.last_error = ""
        self.source_ended = asyncio.Event()
        self._timeout_s = timeout_s
        self._in_flight = in_flight
        self._dead_letters = dead_letters
        self._backoff = backoff or Backoff()
        self._observe = observe
        self._held: Delivery | None = None
        self._handling = False
        self._pausing = False
        self._ending = False
        self._source_task: asyncio.Task[None] | None = None
        if not manifest.source:
            self.source_ended.set()

    @property
    def name(self) -> str:
        return self.context.gear

    @property
    def context(self) -> Context:
        return self.gear.context

    # --- life cycle -------------------------------------------------------------------------------

    async def live(self) -> None:
        """Run the gear until it is at its end, fails for good or is cancelled."""
        try:
            while not await self._session():
                pass
            self.state = State.ENDED
        except Fatal as error:
            self._note(error)
            self.state = State.FAILED
            self.context.log.error("stopped for good: %s", error)
            self.source_ended.set()
            await self._dismiss()
            await self._reject_what_comes(error)
        finally:
            self.source_ended.set()
            await self._dismiss()
            self._abandon()

    def end_source(self) -> None:
        """Stop `run`, and keep taking what reaches the inputs."""
        self._ending = True
        if self._source_task is not None:
            self._source_task.cancel()
        else:
            self.source_ended.set()

    async def _session(self) -> bool:
        """Open the gear and let it work. True: it is at its end; False: it is to be opened again."""
        opened_ns = self.context.clock.monotonic_ns()
        try:
            await self._open()
            await self._work()
        except Fatal:
            raise
        except SystemExit as error:
            raise Fatal(f"open called sys.exit({error.code!r})") from error
        except Exception as error:  # noqa: BLE001 - whatever one gear raises must not reach the others
            self._note(error)
            await self._close()
            await self._back_off(error, (self.context.clock.monotonic_ns() - opened_ns) / 1e9)
            return self.source_ended.is_set() and not self.manifest.inputs
        return True

    async def _open(self) -> None:
        self.state = State.STARTING
        async with asyncio.timeout(OPEN_S):
            await self.gear.open()
        self.counters.opened += 1
        self.state = State.RUNNING

    async def _work(self) -> None:
        """Run the source and take input side by side until both are at their end or one fails."""
        tasks: list[asyncio.Task[None]] = []
        if not self.source_ended.is_set():
            self._source_task = asyncio.create_task(self._run_source(), name=f"{self.name}.run")
            tasks.append(self._source_task)
        if self.manifest.inputs:
            if isinstance(self.gear, Isolated):  # while no batch comes, nothing else notices a worker's death
                tasks.append(asyncio.create_task(self.gear.died(), name=f"{self.name}.worker"))
            tasks.append(asyncio.create_task(self._take_input(), name=f"{self.name}.process"))
        if not tasks:
            return
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            await self._pause(tasks[-1])
        finally:
            self._source_task = None
            await end(tasks, again_after_s=CLOSE_S)
        for task in done:
            task.result()

    async def _pause(self, task: asyncio.Task[None]) -> None:
        """Let a batch at hand be taken whole before the gear is closed: half-taken, it would come twice."""
        self._pausing = True
        try:
            if self._handling:
                await asyncio.wait([task])
        finally:
            self._pausing = False

    async def _run_source(self) -> None:
        try:
            await self.gear.run(self.emit)
        except EndOfStream:
            pass
        except asyncio.CancelledError:
            if not self._ending:
                if _is_being_cancelled():
                    raise
                raise NotReady("run was cancelled from within") from None
        except SystemExit as error:
            raise Fatal(f"run called sys.exit({error.code!r})") from error
        self.source_ended.set()

    async def _back_off(self, error: Exception, lived_s: float) -> None:
        if lived_s > SETTLED_S:
            self._backoff.reset()
        wait_s = self._backoff.next_s()
        self.state = State.WAITING
        log = (
            self.context.log.info if isinstance(error, NotReady | Disconnected) else self.context.log.warning
        )
        log("%s; trying again in %.1f s", _reason(error), wait_s)
        await self.context.clock.sleep(wait_s)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.gear.close()
        except Exception as error:  # noqa: BLE001 - a gear that can't close must not keep the Rack up
            self.context.log.warning("could not close: %s", _reason(error))

    async def _dismiss(self) -> None:
        """Close the gear for good, and end its worker if it has one."""
        try:
            await self._close()
        finally:
            if isinstance(self.gear, Isolated):
                await self.gear.dismiss()

    def _abandon(self) -> None:
        """Settle what is left when the engine stops; a no-op after a drain."""
        if self.state not in (State.FAILED, State.ENDED):
            self.state = State.STOPPED
        stopped = Stopped(f"{self.name} stopped before it took this")
        if self._held is not None:
            self._held.settle(stopped)
            self._held = None
        self.inbox.clear(stopped)

    def _note(self, error: BaseException) -> None:
        self.counters.errors += 1
        self.last_error = _reason(error)

    # --- output -----------------------------------------------------------------------------------

    async def emit(self, port: str, batch: Iterable[FluxMsg]) -> AnyReceipt:
        """What the gear's `run` is given: see `fluxrig.gear.Emit`."""
        receipt = Receipt()
        failure: FluxrigError | None = Stopped(f"{self.name} stopped while it was emitting")
        try:
            await self._send(port, tuple(batch), (receipt,))
            failure = None
        finally:
            receipt.settle(failure)
        await asyncio.sleep(0)  # a source that never waits must still let the others work
        return receipt

    async def _send(self, port: str, batch: Batch, receipts: tuple[Receipt, ...]) -> None:
        if not batch:
            return
        if port not in self.outputs:
            raise Fatal(f"{self.manifest.kind} has no output {port!r}; it has {', '.join(self.outputs)}")
        self.counters.emitted += len(batch)
        for wire in self.outputs[port]:
            await wire.put(batch, receipts, self._in_flight)

    async def _send_outputs(self, outputs: Outputs, receipts: tuple[Receipt, ...]) -> FluxrigError | None:
        """Send on what came of a batch, and give what kept a rejection from safety, if anything did."""
        for port, messages in outputs.ports.items():
            await self._send(port, tuple(messages), receipts)
        if not outputs.rejected:
            return None
        self.counters.rejected += len(outputs.rejected)
        self.last_error = outputs.rejected[-1][1]
        letters = tuple(self.context.rejection(message, reason) for message, reason in outputs.rejected)
        if self.outputs[ERROR_PORT]:
            await self._send(ERROR_PORT, letters, receipts)
            return None
        try:
            await self._dead_letters(self.name, letters)
        except FluxrigError as error:
            self.context.log.error("%d messages have no dead letters to go to: %s", len(letters), error)
            return error
        return None

    # --- input ------------------------------------------------------------------------------------

    async def _take_input(self) -> None:
        """Take deliveries for ever. One that could not be taken is held, and offered first next time."""
        while not self._pausing:
            if self._held is None:
                self._held = await self.inbox.get(self.gear.max_batch)
            self._handling = True
            try:
                await self._handle(self._held)
            finally:
                self._handling = False

    async def _handle(self, delivery: Delivery) -> None:
        """Offer a held delivery whole; when the gear stumbles over it, message by message."""
        try:
            await self._offer(delivery, len(delivery.batch))
        except _StumbledError:
            while self._held is delivery:
                await self._offer(delivery, 1)

    async def _offer(self, delivery: Delivery, count: int) -> None:
        """Offer the first `count` messages of a delivery, and let go of them when they are taken."""
        part, rest = delivery.batch[:count], delivery.batch[count:]
        started_ns = self.context.clock.monotonic_ns()
        outputs, hung = await self._process(part, delivery.port)
        self._measure(len(part), (self.context.clock.monotonic_ns() - started_ns) / 1e9)
        failure = await self._send_outputs(outputs, delivery.receipts)
        delivery.batch, delivery.failure = rest, delivery.failure or failure
        if not rest:
            self._held = None
            delivery.settle()
        if hung:
            raise NotReady(f"process took longer than {self._timeout_s:g} s")

    async def _process(self, batch: Batch, port: str) -> tuple[Outputs, bool]:
        """Call the gear, and say what came of it and whether it hung."""
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                return await self.gear.process(batch, port), False
        except (NotReady, Disconnected, Fatal):
            raise
        except asyncio.CancelledError as error:
            if _is_being_cancelled():
                raise
            return self._stumble(batch, error), False
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one message must not stop those behind it
            if limit.expired():
                return _all_rejected(batch, f"{self.name} took longer than {self._timeout_s:g} s"), True
            return self._stumble(batch, error), False

    def _stumble(self, batch: Batch, error: BaseException) -> Outputs:
        if not isinstance(error, BadMessage):
            self._note(error)
            self.context.log.warning("process raised %s", _reason(error))
        if len(batch) > 1:
            raise _StumbledError from error
        return _all_rejected(batch, _reason(error))

    def _measure(self, messages: int, elapsed_s: float) -> None:
        self.counters.received += messages
        self.counters.process_s += elapsed_s
        if self._observe is not None:
            self._observe(elapsed_s)

    async def _reject_what_comes(self, error: Fatal) -> None:
        """Keep a gear that failed for good from blocking its upstream: what reaches it is rejected."""
        reason = f"{self.name} has stopped: {error}"
        while self.manifest.inputs:
            self._held = self._held or await self.inbox.get()
            outputs = _all_rejected(self._held.batch, reason)
            self._held.settle(await self._send_outputs(outputs, self._held.receipts))
            self._held = None


class _StumbledError(Exception):
    """A gear could not take a batch of several messages: find the one."""


def _all_rejected(batch: Batch, reason: str) -> Outputs:
    outputs = Outputs()
    for message in batch:
        outputs.reject(message, reason)
    return outputs


def _is_being_cancelled() -> bool:
    """Tell a cancellation of the task itself from one that leaked out of the gear's own work."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason(error: BaseException) -> str:
    """Our own errors speak for themselves; anything else is named by its type."""
    text = str(error)
    if isinstance(error, FluxrigError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
