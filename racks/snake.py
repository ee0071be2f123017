"""The Rack's side of the Snake: says to the Mixer that it is here, and learns what the Mixer has safe."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final, Protocol

from fluxrig.clock import Clock
from fluxrig.errors import BusError
from racks.backoff import Backoff

HEARTBEAT_S: Final = 1.0
ANSWER_S: Final = 5.0

log = logging.getLogger("fluxrig.rack")


class Requests(Protocol):
    """The part of a bus connection that the Snake needs."""

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes: ...


class Snake:
    """Keeps the Rack registered.

    `leaves` gives the ids of the leaf's stores by stream; `committed` says by stream how many messages of
    such a store, over its whole life, the Mixer has in Parquet. `health` is what the Mixer hears besides;
    `why_out` says why the Mixer keeps the Rack out, as far as that is known.
    """

    def __init__(
        self,
        bus: Requests,
        *,
        rack: str,
        uns: str,
        leaves: Callable[[], Mapping[str, str]],
        clock: Clock,
        health: Callable[[], Mapping[str, Any]] = dict,
        why_out: Callable[[], str] = str,
    ) -> None:
        self.up = False
        self.since_ns = clock.now_ns()
        """Since when it is up or down, ns since the Unix epoch."""
        self.committed = dict.fromkeys(leaves(), 0)
        self.last_error = ""
        self._bus = bus
        self._clock = clock
        self._who = {"rack": rack, "uns": uns, "version": version("fluxrig")}
        self._leaves, self._asked_for = leaves, dict(leaves())
        self._subject = f"fluxrig.mixer.{rack}.register"
        self._health = health
        self._why_out = why_out
        self._round_trip_ns = 0
        self._backoff = Backoff(first_s=0.25, longest_s=5.0)
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Announce the Rack until cancelled. An outage or a refusal is told once, when it begins."""
        while True:
            try:
                started_ns = self._clock.monotonic_ns()
                answer = await self._bus.request(self._subject, self._announcement(), ANSWER_S)
                self._round_trip_ns = self._clock.monotonic_ns() - started_ns
                self._take(json.loads(answer))
                wait_s = HEARTBEAT_S
            except (BusError, ValueError, TypeError, AttributeError, KeyError) as error:
                self._down(self._why_out() or f"the Mixer does not answer: {error}")
                wait_s = self._backoff.next_s()
            await self._clock.sleep(wait_s)

    def _announcement(self) -> bytes:
        """Say who this is and how it is. Under a new id the numbers of a store begin anew."""
        for stream, leaf in self._leaves().items():
            if leaf != self._asked_for[stream]:
                self._asked_for[stream], self.committed[stream] = leaf, 0
        told = {"leaves": self._asked_for, "health": dict(self._health())}
        clock = {"clock_ns": self._clock.now_ns(), "rtt_ns": self._round_trip_ns}
        return json.dumps({**self._who, **told, **clock}).encode()

    async def flushed(self, stream: str, messages: int, limit_s: float) -> bool:
        """Wait until the first `messages` of a stream are in Parquet; False when the limit came first."""
        try:
            async with asyncio.timeout(limit_s):
                while self.committed[stream] < messages:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _take(self, answer: Any) -> None:
        if not isinstance(answer, dict) or not answer.get("ok"):
            reason = answer.get("error", "no reason given") if isinstance(answer, dict) else "no sense"
            self._down(f"the Mixer refuses this Rack: {reason}")
            return
        committed = {stream: int(answer["committed"].get(stream, 0)) for stream in self.committed}
        if not self.up:
            log.info("the Mixer has registered this Rack")
            self.since_ns = self._clock.now_ns()
        self.up, self.last_error = True, ""
        self._backoff.reset()
        for stream, known in self.committed.items():  # in place: others look at it
            self.committed[stream] = max(known, committed[stream])
        self._news.set()

    def _down(self, reason: str) -> None:
        if self.up or not self.last_error:
            log.warning("%s; storing on the leaf meanwhile", reason)
        if self.up:
            self.since_ns = self._clock.now_ns()
        self.up, self.last_error = False, reason
