"""One unit as it is at the moment: it answers, or it is away and only asked now and then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from fluxrig.clock import Clock
from fluxrig.modbus.pdu import Refusal, Request
from fluxrig.modbus.quality import UNIT_AWAY, exception_reason
from gears.io_modbus.device import Device
from gears.io_modbus.metrics import Attributes, Metrics
from gears.io_modbus.owner import Owner
from gears.io_modbus.poll import Query
from gears.io_modbus.terms import Answer, Lost

FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
PROBE_SHARE: Final = 0.05
"""The most of a line's time that questions to units that are away may take, where others have to wait."""
LONGEST_SHARING_S: Final = 300.0


class Unit:
    """Asks one unit, and knows whether it answers."""

    def __init__(self, device: Device, owner: Owner, metrics: Metrics, attributes: Attributes) -> None:
        self.device = device
        self.owner = owner
        self.away: Lost | None = None
        self.went = asyncio.Event()
        """Set while the unit is away."""
        self.came = asyncio.Event()
        """Set while it is not."""
        self.came.set()
        self._metrics = metrics
        self._attributes = attributes

    async def read(self, query: Query) -> Answer:
        """Read for a poll. Raises Refusal; or Lost, after which the unit is away."""
        self._must_be_here()
        settings = self.device.settings
        try:
            return await self.ask(
                query.request,
                retries=settings.retries,
                busy_retries=settings.busy_retries,
                still=self._must_be_here,
            )
        except Lost as lost:
            self.leave(lost)
            raise

    async def ask(
        self,
        request: Request,
        *,
        urgent: bool = False,
        probing: bool = False,
        retries: int = 0,
        busy_retries: int = 0,
        still: Callable[[], None] | None = None,
    ) -> Answer:
        """Ask, counting. A gateway that does not reach the unit counts as no answer."""
        self._metrics.requests.add(1, self._attributes)
        try:
            answer = await self.owner.ask(
                self.device.unit,
                request,
                self.device.settings.response_timeout,
                urgent=urgent,
                probing=probing,
                retries=retries,
                busy_retries=busy_retries,
                still=still,
            )
        except Lost:
            self._metrics.failures.add(1, self._attributes)
            raise
        except Refusal as refusal:
            if refusal.code not in UNIT_AWAY:
                raise
            self._metrics.failures.add(1, self._attributes)
            reason = exception_reason(refusal.code)
            raise Lost(reason, f"{self.owner.main.endpoint} unit {self.device.unit}: {reason}") from None
        self._metrics.latency.record((answer.answered_ns - answer.sent_ns) / 1e9, self._attributes)
        return answer

    def leave(self, lost: Lost) -> None:
        if self.away is None:
            self.away = lost
            self.owner.away.add(self.device.unit)
            self.came.clear()
            self.went.set()

    def _must_be_here(self) -> None:
        """Raise Lost if the unit went away, maybe while the request waited for its turn."""
        if self.away is not None:
            raise self.away

    async def watch(self, probe: Query, clock: Clock) -> None:
        """Wait until the unit is away, ask now and then until it answers, and so on for ever."""
        while True:
            await self.went.wait()
            wait_s = self._first_wait_s()
            while not await self._answers(probe, clock, wait_s):
                wait_s = self._next_wait_s(wait_s)
            self.away = None
            self.owner.away.discard(self.device.unit)
            self.went.clear()
            self.came.set()

    def _first_wait_s(self) -> float:
        """A lone unit may have missed one request only, and is asked again soon."""
        alone = self.owner.stands_apart or len(self.owner.away) == 1
        return FIRST_WAIT_S if alone else self._next_wait_s(0.0)

    def _next_wait_s(self, wait_s: float) -> float:
        """Wait twice as long, and where others have to wait meanwhile, so long that they keep the line."""
        longer_s = max(FIRST_WAIT_S, min(LONGEST_WAIT_S, wait_s * 2))
        if self.owner.stands_apart or self.away is None:
            return longer_s
        share_s = self.away.held_s * len(self.owner.away) / PROBE_SHARE
        return max(longer_s, min(LONGEST_SHARING_S, share_s))

    async def _answers(self, probe: Query, clock: Clock, wait_s: float) -> bool:
        await clock.sleep(wait_s * random.uniform(1.0, 1.25))  # noqa: S311 - spreads, hides nothing
        try:
            await self.ask(probe.request, probing=True)
        except Refusal:
            return True
        except Lost as lost:
            self.away = lost
            return False
        return True
