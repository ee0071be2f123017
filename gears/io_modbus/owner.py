"""The one owner of an endpoint in this process, shared by all gears and devices that name it.

A unit that fails is asked on a second connection until it answers there, so that waiting for it costs the
other units nothing. Where there can't be one (a serial line, or a gateway that takes one connection only) it
shares the first, and is asked the more rarely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Final
from weakref import WeakKeyDictionary

from fluxrig.clock import Clock
from fluxrig.modbus.pdu import READ_INPUT, Refusal, Request
from fluxrig.modbus.quality import BUSY
from gears.io_modbus.endpoint import Endpoint
from gears.io_modbus.line import Line
from gears.io_modbus.terms import Answer, Lost, Terms
from gears.io_modbus.turns import Turns

BUSY_PAUSE_S: Final = 0.1
_SPREAD: Final = 0.618033988749895
"""The golden ratio: whatever their number, the phases that it gives lie far apart."""


class Owner:
    """Lines to one endpoint. Requests wait for their turn, one is under way on each line."""

    def __init__(
        self, endpoints: Sequence[Endpoint], terms: Terms, clock: Clock, *, probe_line: bool
    ) -> None:
        self.main = Line(endpoints, terms, clock)
        self.probe: Line | None = None
        self.users = 0
        self.away: set[int] = set()
        """The units that do not answer at the moment."""
        self._endpoints, self._terms, self._clock = tuple(endpoints), terms, clock
        self._may_probe = probe_line and not any(endpoint.is_serial for endpoint in endpoints)
        self._turns, self._probe_turns = Turns(), Turns()
        self._units: dict[int, int] = {}
        self._answered: tuple[int, Request, float] | None = None
        """What was read last, from which unit, and its time-out."""
        self.writing = asyncio.Lock()
        """Held by who reads a register in order to write it."""
        self._returning: asyncio.Task[None] | None = None
        self._probe_serves = False

    @property
    def can_probe(self) -> bool:
        """Whether a unit that fails can be asked apart from the others."""
        return self._may_probe and len(self._units) > 1

    @property
    def stands_apart(self) -> bool:
        """Whether asking a unit that fails keeps no other unit waiting."""
        return self.can_probe or len(self._units) == 1

    def join(self, units: Sequence[int], terms: Terms) -> None:
        """Note who uses the endpoint; the gentlest terms of all that do are kept."""
        self.users += 1
        for unit in units:
            self._units[unit] = self._units.get(unit, 0) + 1
        self._terms = self.main.terms = _gentlest(self._terms, terms)
        if self._returning is None and len(self._endpoints) > 1 and terms.return_after_s is not None:
            self._returning = asyncio.create_task(self._return_to_first(terms.return_after_s))

    def leave(self, units: Sequence[int]) -> None:
        self.users -= 1
        for unit in units:
            self._units[unit] -= 1
            if not self._units[unit]:
                del self._units[unit]
                self.away.discard(unit)
        if not self.users:
            self.close()

    def close(self) -> None:
        self.main.close()
        self.end_probe()
        if self._returning is not None:
            self._returning.cancel()
            self._returning = None

    def end_probe(self) -> None:
        if self.probe is not None:
            self.probe.close()
            self.probe = None

    def rest(self) -> None:
        """Close the connection after a gather, unless somebody is using it."""
        if not self._turns.busy:
            self.main.close()

    async def ask(
        self,
        unit: int,
        request: Request,
        timeout_s: float,
        *,
        urgent: bool = False,
        probing: bool = False,
        retries: int = 0,
        busy_retries: int = 0,
        still: Callable[[], None] | None = None,
    ) -> Answer:
        """Send a request when it is its turn. Raises Refusal or Lost when the retries are used up.

        `still` is called then; it raises what it likes if the request is not wanted any more.
        """
        apart = probing and self.can_probe
        while True:
            try:
                if apart:
                    return await self._ask_apart(unit, request, timeout_s)
                async with self._turns.turn(unit, urgent=urgent):
                    if still is not None:
                        still()
                    answer = await self.main.ask(unit, request, timeout_s)
                if request.function <= READ_INPUT:
                    self._answered = unit, request, timeout_s
                return answer
            except Lost:
                if retries <= 0:
                    raise
                retries -= 1
            except Refusal as refusal:
                if refusal.code != BUSY or busy_retries <= 0:
                    raise
                busy_retries -= 1
                await asyncio.sleep(BUSY_PAUSE_S)

    async def _ask_apart(self, unit: int, request: Request, timeout_s: float) -> Answer:
        """Ask on the second line. Where that costs the first its connection, or is of no use, never again."""
        async with self._probe_turns.turn(unit):
            if self.probe is None or self.probe.endpoint != self.main.endpoint:
                self.end_probe()
                terms = replace(self._terms, idle_timeout_s=None)
                self.probe = Line([self.main.endpoint], terms, self._clock)
            probe, before = self.probe, self.main.ended
            try:
                answer = await probe.ask(unit, request, timeout_s)
            except Lost:
                self._may_probe = await self._serves(probe, unit) and self.main.ended == before
                if not self._may_probe:
                    self.end_probe()
                raise
            self._probe_serves = True
            return answer

    async def _serves(self, probe: Line, failing: int) -> bool:
        """Say whether a second connection is served: a unit that answers on the first must answer there."""
        if self._probe_serves or self._answered is None or self._answered[0] == failing:
            return True
        try:
            await probe.ask(*self._answered)
        except Refusal:
            pass
        except Lost:
            return False
        self._probe_serves = True
        return True

    async def _return_to_first(self, every_s: float) -> None:
        """While another endpoint is used, ask the first now and then, and go back to it once it answers."""
        while True:
            await self._clock.sleep(every_s)
            if self._answered is None or self.main.endpoint == self._endpoints[0]:
                continue
            first = Line(self._endpoints[:1], self._terms, self._clock)
            try:
                await first.ask(*self._answered)
            except Lost:
                continue
            except Refusal:
                pass
            finally:
                first.close()
            async with self._turns.turn(self._answered[0]):
                self.main.return_to_first()


def _gentlest(one: Terms, two: Terms) -> Terms:
    return replace(
        one,
        pause_after_connect_s=max(one.pause_after_connect_s, two.pause_after_connect_s),
        pause_between_requests_s=max(one.pause_between_requests_s, two.pause_between_requests_s),
        close_after_request=one.close_after_request or two.close_after_request,
    )


class Owners:
    """The owners of one event loop, and how many pollers have been started in it."""

    def __init__(self) -> None:
        self._by_endpoint: dict[Hashable, Owner] = {}
        self._pollers = 0

    def own(
        self,
        endpoints: Sequence[Endpoint],
        terms: Terms,
        clock: Clock,
        units: Sequence[int],
        *,
        probe_line: bool,
    ) -> Owner:
        """Give the owner of the first endpoint, a new one if it has none; to be left by `leave`."""
        key = endpoints[0]
        owner = self._by_endpoint.get(key)
        if owner is None or not owner.users:
            owner = self._by_endpoint[key] = Owner(endpoints, terms, clock, probe_line=probe_line)
        owner.join(units, terms)
        return owner

    def leave(self, owner: Owner, units: Sequence[int]) -> None:
        owner.leave(units)
        if not owner.users:
            self._by_endpoint = {key: each for key, each in self._by_endpoint.items() if each is not owner}
        if not self._by_endpoint:
            self._pollers = 0

    def next_phase(self) -> float:
        """Give where in its interval the next poller begins, from 0 up to 1, far from those before."""
        self._pollers += 1
        return (self._pollers - 1) * _SPREAD % 1.0


_owners: WeakKeyDictionary[asyncio.AbstractEventLoop, Owners] = WeakKeyDictionary()


def owners() -> Owners:
    """Give the owners of the running loop: a line belongs to a loop, and there is one of it a process."""
    return _owners.setdefault(asyncio.get_running_loop(), Owners())
