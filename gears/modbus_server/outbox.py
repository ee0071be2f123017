"""What clients write, on its way out: one message after the other, each answered once it is settled.

Who writes to a device accounts for it in a `fluxrig.write/1`. Where that is wired back here, it comes before
the message is settled, and decides what the client hears.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fluxrig.gear import Emit, Receipt
from fluxrig.message import FluxMsg
from gears.modbus_server.image import ACKNOWLEDGE, BUSY, DEVICE_FAILURE, ILLEGAL_VALUE

MAX_PENDING: Final = 100
"""Messages of all clients that wait to be handed on; one more is refused."""


@dataclass(slots=True)
class _Pending:
    port: str
    message: FluxMsg
    outcome: asyncio.Future[int | None]
    """The exception that the client is answered with, None for success."""

    def settle(self, outcome: int | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Outbox:
    """Hands on messages while `run` runs; else refuses them."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._queue: asyncio.Queue[_Pending] | None = None
        self._under_way = b""
        """The id of the message that is being handed on."""
        self._verdict: int | None = None

    def put(self, port: str, message: FluxMsg) -> asyncio.Future[int | None] | None:
        """Queue a message and give its outcome to be, or None where there is no room."""
        if self._queue is None or self._queue.full():
            return None
        pending = _Pending(port, message, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(pending)
        return pending.outcome

    async def deliver(self, port: str, message: FluxMsg, limit_s: float) -> int | None:
        """Hand a message on, and give the exception to answer with, or None once it is settled."""
        outcome = self.put(port, message)
        if outcome is None:
            return BUSY
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(outcome)
        except TimeoutError:
            return ACKNOWLEDGE

    def account(self, ref: bytes | None, data: Mapping[str, Any]) -> None:
        """Note what came of a write; only that of the message under way decides an answer."""
        status = data.get("status")
        if not ref or ref != self._under_way or status == "written":
            return
        self._log.info("%s was not written: %s %s", data.get("tag"), status, data.get("reason", ""))
        self._verdict = ILLEGAL_VALUE if status == "refused" else DEVICE_FAILURE

    async def run(self, emit: Emit) -> None:
        """Emit what is put, until cancelled; what is still waiting then is refused."""
        queue = self._queue = asyncio.Queue(MAX_PENDING)
        try:
            while True:
                await self._hand_on(emit, await queue.get())
        finally:
            self._queue = None
            while not queue.empty():
                queue.get_nowait().settle(BUSY)

    async def _hand_on(self, emit: Emit, pending: _Pending) -> None:
        # When this is cut short nobody knows how far the message came: accepted is all that can be said.
        outcome: int | None = ACKNOWLEDGE
        self._under_way, self._verdict = pending.message.id, None
        try:
            receipt = await emit(pending.port, (pending.message,))
            outcome = await self._settled(receipt)
        finally:
            self._under_way = b""
            pending.settle(outcome)

    async def _settled(self, receipt: Receipt) -> int | None:
        try:
            await receipt
        except Exception as error:  # noqa: BLE001 - whatever failed, the client has to know
            self._log.warning("what a client wrote was not taken: %s", error)
            return DEVICE_FAILURE
        return self._verdict
