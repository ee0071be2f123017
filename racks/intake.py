"""The way into a gear: one batch at a time is offered, taken whole, and let go of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from fluxrig.errors import BadMessage, Disconnected, Fatal, FluxrigError, NotReady
from fluxrig.gear import Batch, Gear, Outputs
from racks.outlet import Outlet
from racks.record import Record, reason_of
from racks.wire import Delivery, Inbox

LET_GO_S = 5.0


class Intake:
    """Offers what reaches one gear.

    A batch that the gear can't take now is held, and offered first next time. One that it stumbles over is
    offered message by message, and the one that is bad is rejected.
    """

    def __init__(
        self,
        gear: Gear[Any],
        outlet: Outlet,
        record: Record,
        timeout_s: float | None,
        observe: Callable[[float], None] | None,
    ) -> None:
        self.inbox = Inbox()
        self._gear = gear
        self._outlet = outlet
        self._record = record
        self._timeout_s = timeout_s
        self._observe = observe
        self._held: Delivery | None = None
        self._handling = False
        self._pausing = False
        self._calling_since_s: float | None = None
        self._given_up = False
        self.leaving = False
        """Whether a cancellation comes from the engine; any other leaked out of the gear's own work."""

    async def take(self) -> None:
        """Take deliveries until a pause is asked for."""
        while not self._pausing:
            if self._held is None:
                self._held = await self.inbox.get(self._gear.max_batch)
            self._handling = True
            try:
                await self._handle(self._held)
            finally:
                self._handling = False

    async def pause(self, taking: asyncio.Task[None]) -> None:
        """Let a batch at hand be taken whole before the gear is closed: half-taken, it would come twice."""
        self._pausing = True
        try:
            if self._handling and not self._given_up:
                await asyncio.wait([taking])
        finally:
            self._pausing = False

    async def watch(self, timeout_s: float) -> NoReturn:
        """Raise Fatal when the gear keeps a batch although its time-out has cancelled it."""
        now_s = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(min(timeout_s, LET_GO_S) / 2)
            if self._calling_since_s and now_s() - self._calling_since_s > timeout_s + LET_GO_S:
                self._given_up = True
                raise Fatal(f"process does not let go of a batch, {LET_GO_S:g} s after its time-out")

    async def reject_all(self, error: Fatal) -> None:
        """Keep a gear that failed for good from blocking its upstream: reject what comes, for ever."""
        reason = f"{self._gear.context.gear} has stopped: {error}"
        while True:
            self._held = self._held or await self.inbox.get()
            outputs = _all_rejected(self._held.batch, reason)
            self._held.settle(await self._outlet.send(outputs, self._held.receipts))
            self._held = None

    def abandon(self, error: FluxrigError) -> None:
        """Settle what is left with `error`."""
        if self._held is not None:
            self._held.settle(error)
            self._held = None
        self.inbox.clear(error)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._offer(delivery, len(delivery.batch))
        except _StumbledError:
            while self._held is delivery:
                await self._offer(delivery, 1)

    async def _offer(self, delivery: Delivery, count: int) -> None:
        """Offer the first `count` messages of a delivery, and let go of them when they are taken."""
        part, rest = delivery.batch[:count], delivery.batch[count:]
        clock = self._gear.context.clock
        started_ns = clock.monotonic_ns()
        outputs, hung = await self._process(part, delivery.port)
        self._measure(len(part), (clock.monotonic_ns() - started_ns) / 1e9)
        failure = await self._outlet.send(outputs, delivery.receipts)
        delivery.batch, delivery.failure = rest, delivery.failure or failure
        if not rest:
            self._held = None
            delivery.settle()
        if hung:
            raise NotReady(f"process took longer than {self._timeout_s:g} s")

    async def _process(self, batch: Batch, port: str) -> tuple[Outputs, bool]:
        """Call the gear, and say what came of it and whether it hung."""
        self._calling_since_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                outputs = await self._gear.process(batch, port)
        except (NotReady, Disconnected, Fatal):
            raise
        except asyncio.CancelledError as error:
            if self.leaving:
                raise
            _uncancel()
            return self._stumble(batch, error), False
        except BaseException as error:  # noqa: BLE001 - one message must not stop those behind it
            if limit.expired():
                reason = f"{self._gear.context.gear} took longer than {self._timeout_s:g} s"
                return _all_rejected(batch, reason), True
            return self._stumble(batch, error), False
        finally:
            self._calling_since_s = None
            if self._given_up:
                raise asyncio.CancelledError
        if not isinstance(outputs, Outputs):
            raise Fatal(f"process gave {type(outputs).__name__}; it must give Outputs")
        return outputs, False

    def _stumble(self, batch: Batch, error: BaseException) -> Outputs:
        if not isinstance(error, BadMessage):
            self._record.failure(error)
            self._gear.context.log.warning("process raised %s", reason_of(error))
        if len(batch) > 1:
            raise _StumbledError from error
        return _all_rejected(batch, reason_of(error))

    def _measure(self, messages: int, elapsed_s: float) -> None:
        self._record.counters.received += messages
        self._record.counters.process_s += elapsed_s
        if self._observe is not None:
            self._observe(elapsed_s)


class _StumbledError(Exception):
    """A gear could not take a batch of several messages: find the one."""


def _all_rejected(batch: Batch, reason: str) -> Outputs:
    outputs = Outputs()
    for message in batch:
        outputs.reject(message, reason)
    return outputs


def _uncancel() -> None:
    """Forget that the gear cancelled the task that called it."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
