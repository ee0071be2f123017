"""Keeps a Rack enrolled while it runs: joins, renews its certificate, and comes back after a long sleep.

What the Rack reads is stored on its leaf all the while: being let in or not is a matter of the link alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from fluxrig.bus import LeafRemote
from fluxrig.clock import Clock
from fluxrig.errors import BusError, FluxrigError, IdentityError
from fluxrig.identity import join
from fluxrig.identity.enrol import Answer, Unreachable, Untrusted
from fluxrig.identity.folder import Identity, IdentityFolder
from fluxrig.identity.joining import Joining, Refused, refresh, renewal, renewed
from fluxrig.rackfile.model import RackSpec, SnakeSpec
from racks.backoff import Backoff

TICK_S: Final = 1.0
PATIENCE_S: Final = 20.0
"""How long the Snake may be down before the enrolment port is asked why."""
SETTLED_S: Final = 600.0
"""How long to leave it at that once the Mixer has said that all is well."""
RENEW_S: Final = 5.0

log = logging.getLogger("fluxrig.rack")


class Link(Protocol):
    """The part of the Snake that is needed."""

    up: bool


class Requests(Protocol):
    """The part of a bus connection that is needed."""

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes: ...


class Enrolment:
    """Of one Rack. `trouble` says why it is out, "" while nothing is known to be wrong."""

    def __init__(self, spec: RackSpec, state_dir: Path, clock: Clock) -> None:
        assert spec.snake is not None  # noqa: S101 - a Rack on its own has nothing to enrol
        self.trouble = ""
        self.identity: Identity | None = None
        self._spec, self._snake = spec, spec.snake
        self._folder = IdentityFolder(state_dir)
        self._clock = clock
        self._joining: Joining | None = None
        self._stamp = 0
        self._backoff = Backoff(first_s=5.0, longest_s=60.0)

    async def start(self) -> LeafRemote | None:
        """Give where the leaf dials, or None while it waits to be let in. FluxrigError: it never will be."""
        self._take(self._folder.load())
        if self.identity is None:
            self._joining = self._join()
            try:
                found = await self._joining.ask()
                if isinstance(found, Identity):
                    self._take(found)
                else:
                    self.trouble = self._joining.news(found)
            except Unreachable as error:
                self.trouble = str(error)
        return self._remote()

    async def run(self, bus: Requests, link: Link, dial: Callable[[LeafRemote], Awaitable[None]]) -> None:
        """Keep the Rack enrolled until cancelled; `dial` hears of each change."""
        if self.identity is None:
            await self._wait()
            await self._dial(dial)
        last_up_ns = self._clock.monotonic_ns()
        ask_after_s: float | None = None
        while True:
            await self._clock.sleep(TICK_S)
            if link.up:
                last_up_ns, ask_after_s, self.trouble = self._clock.monotonic_ns(), None, ""
                self._backoff.reset()
            if self._changed():
                await self._dial(dial)
            assert self.identity is not None  # noqa: S101 - it stays once it is there
            down_s = (self._clock.monotonic_ns() - last_up_ns) / 1e9
            if link.up and self.identity.needs_renewal(self._clock.now_ns() / 1e9):
                if await self._renew(bus, self.identity):
                    await self._dial(dial)
            elif down_s > (min(PATIENCE_S, self._left_s()) if ask_after_s is None else ask_after_s):
                settled = await self._refresh(self.identity)
                if settled:
                    await self._dial(dial)
                pause_s = min(SETTLED_S, self._left_s()) if settled else self._backoff.next_s()
                ask_after_s = down_s + pause_s

    @property
    def where(self) -> str:
        """Where the leaf dials, or who is asked to let it in until then; "" while that is not known."""
        if self.identity is not None:
            return ", ".join(map(str, self._reached(self.identity).dials))
        return str(self._joining.address) if self._joining else ""

    def _left_s(self) -> float:
        """Give how long the certificate is still good for by this Rack's clock; 0 where it has ended."""
        ends_s = self.identity.expires_s if self.identity else 0.0
        return max(0.0, ends_s - self._clock.now_ns() / 1e9)

    def _join(self) -> Joining:
        token = join.JoinToken.decode(_token(self._spec, self._snake))
        spec = self._spec
        return Joining(self._folder, token, rack=spec.name, uns=spec.uns, host=self._snake.host)

    async def _wait(self) -> None:
        """Wait until the Rack is let in. A refusal is told once, and asked again now and then."""
        assert self._joining is not None  # noqa: S101 - made by start()
        while self.identity is None:
            try:
                self._take(await self._joining.wait(self._hear))
            except IdentityError as error:
                self._tell(f"this Rack is not let in: {error}")
                await self._clock.sleep(self._backoff.next_s())
                self._changed()
        self.trouble = ""

    async def _renew(self, bus: Requests, identity: Identity) -> bool:
        subject = f"fluxrig.mixer.{identity.rack}.renew"
        try:
            payload = await asyncio.to_thread(renewal, identity)
            answer = Answer.model_validate_json(await bus.request(subject, payload, RENEW_S))
            if answer.state != "approved":
                raise Refused(answer)
            self._take(await asyncio.to_thread(renewed, self._folder, identity, answer))
        except (BusError, IdentityError, OSError, ValueError) as error:
            if isinstance(error, BusError) and self._left_s() > identity.life_s / 4:
                log.debug("the certificate is not renewed yet: %s", error)
            else:
                self._tell(f"the certificate is not renewed: {error}")
            await self._clock.sleep(self._backoff.next_s())
            return False
        log.info("the certificate is renewed")
        return True

    async def _refresh(self, identity: Identity) -> bool:
        """Ask at the enrolment port for a certificate with the keys that are enrolled."""
        try:
            self._take(await refresh(self._folder, self._reached(identity), self._spec.uns))
        except Refused as refusal:
            self._tell(f"the Mixer keeps this Rack out: {refusal}")
            return False
        except Untrusted as error:
            self._tell(str(error))
            return False
        except (IdentityError, OSError) as error:
            log.debug("the enrolment port does not help: %s", error)
            return False
        self.trouble = ""
        log.info("the Mixer has enrolled this Rack again")
        return True

    def _take(self, identity: Identity | None) -> None:
        """Use an identity, if it is this Rack's. Raises FluxrigError."""
        if identity is None:
            return
        name, uns = self._spec.name, self._spec.uns
        if identity.rack != name:
            raise FluxrigError(
                f"{identity.folder} holds the identity of Rack {identity.rack}, not of {name}; "
                "a Rack keeps its name: give the new one a state folder of its own (--state), and enrol it"
            )
        if not identity.covers(uns):
            raise FluxrigError(
                f"Rack {name} is enrolled for {identity.uns}, but its file says uns: {uns}; put that back, "
                "or enrol it under a new name: what it has read belongs to the old path"
            )
        self.identity = identity
        self._stamp = self._folder.stamp()

    def _changed(self) -> bool:
        """Take up an identity that `fluxrig enroll` has put in place meanwhile."""
        stamp = self._folder.stamp()
        if stamp in {0, self._stamp}:
            return False
        self._stamp = stamp
        try:
            self._take(self._folder.load())
        except FluxrigError as error:
            self._tell(str(error))
            return False
        log.info("this Rack has a new identity")
        return True

    def _reached(self, identity: Identity) -> Identity:
        host = self._snake.host or identity.host
        return replace(identity, host=host, leaf_port=self._snake.port or identity.leaf_port)

    def _remote(self) -> LeafRemote | None:
        return LeafRemote.of(self._reached(self.identity)) if self.identity else None

    async def _dial(self, dial: Callable[[LeafRemote], Awaitable[None]]) -> None:
        if (remote := self._remote()) is not None:
            await dial(remote)

    def _hear(self, news: str) -> None:
        if news != self.trouble:
            log.info("%s", news)
        self.trouble = news

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble


def _token(spec: RackSpec, snake: SnakeSpec) -> str:
    if snake.join_file is not None:
        return join.read(snake.join_file)
    if snake.join:
        return join.find(snake.join, stdin_is_fine=False)
    raise FluxrigError(
        f"Rack {spec.name} is not enrolled; get a join token (mixer join-token create) and run: "
        f"fluxrig enroll TOKEN --file FILE. Or name a file with it in the Rack file, snake: {{join: FILE}}, "
        f"or set {join.VARIABLE}"
    )
