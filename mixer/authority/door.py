"""The doors of all projects, and who watches them: nobody stays who may not, and no refusal goes untold."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from typing import Final

from fluxrig.bus import Bus, Hub
from fluxrig.errors import BusError
from mixer.authority.bouncer import Bouncer, LeafLink
from mixer.authority.gate import Gate, Visitors
from mixer.authority.identity import Authority
from mixer.enrolment.registry import Rack, Registry, State
from mixer.refusals import Refusals

SWEEP_S: Final = 2.0
_REMEMBERED: Final = 4096
LISTEN_S: Final = 0.25
_DOMAIN: Final = re.compile(r'lid:(\d+) - JetStream using domains: local "[^"]*", remote "([^"]+)"')
_STARTS: Final = "Starting nats-server"
_LINE: Final = re.compile(r"\[(?:ERR|WRN)\] (\S+):\d+ - lid:(\d+) - (.*)")
_SAID: Final = (
    (re.compile(r"TLS leafnode handshake error: (?:remote error: )?(?:tls: )?(.*)"), "no TLS: {}"),
    (
        re.compile(r"(Publish|Subscription) Violation on (.{,200}?)(?: - Check.*)?$"),
        "not its to use: {1} ({0})",
    ),
    (re.compile(r"authentication error.*", re.I), "its credentials are no good"),
    (re.compile(r"maximum payload .*", re.I), "a message larger than it may send"),
    (re.compile(r"maximum subscriptions .*", re.I), "more subscriptions than it may have"),
    (
        re.compile(r"(?:processLeaf|Leafnode parser ERROR).*"),
        "it does not speak as a leaf does",
    ),
    (re.compile(r"attempted to connect to leaf node port.*"), "a client, and only leaves may come in"),
    (re.compile(r"(Slow Consumer Detected).*"), "too slow to take what it asked for"),
)
_CHANGING: Final = re.compile(r": current time .*")  # of an expired certificate

_log = logging.getLogger("fluxrig.mixer")


class Domains:
    """The domain that each leaf claims, by the number of its connection, as only the hub's log tells."""

    def __init__(self) -> None:
        self._claimed: OrderedDict[int, str] = OrderedDict()

    def hear(self, line: str) -> None:
        """Take a line of the log. A hub that starts again numbers its connections anew."""
        if _STARTS in line:
            self._claimed.clear()
        elif match := _DOMAIN.search(line):
            self._claimed[int(match[1])] = match[2]
            if len(self._claimed) > _REMEMBERED:
                self._claimed.popitem(last=False)

    def of(self, connection: int) -> str:
        """Give what a connection claims, "" when that is not known."""
        return self._claimed.get(connection, "")


class Door:
    """Lets Racks in by the registry, and puts them out as soon as it changes."""

    def __init__(self, authority: Authority, registry: Registry, hub: Hub, system: Bus) -> None:
        self._authority = authority
        self._registry = registry
        self._hub = hub
        self._accounts: dict[str, str] = {}
        self._bouncer = Bouncer(system, self._accounts)
        self._refusals = Refusals("a Rack")
        self._visitors = Visitors()
        self._domains = Domains()
        self._changed: set[tuple[str, str]] = set()
        self._news = asyncio.Event()
        registry.watch(self._note)

    async def open_project(self, name: str, bus: Bus) -> None:
        """Let Racks into a project from now on. `bus` is the Mixer's own there."""
        account = self._authority.projects[name]
        self._accounts[account.public] = name
        await Gate(name, account, self._registry, self._refusals, self._visitors).serve(bus)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_order())
            tasks.create_task(self._listen())

    def _note(self, rack: Rack) -> None:
        self._changed.add((rack.project, rack.rack))
        self._news.set()

    async def _keep_order(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SWEEP_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            changed, self._changed = self._changed, set()
            try:
                await self._sweep(changed)
            except BusError as error:
                self._changed |= changed
                _log.debug("the hub's connections can't be seen now: %s", error)

    async def _sweep(self, changed: set[tuple[str, str]]) -> None:
        """Put out who may not be here. Those that changed dial again, and are asked again who they are."""
        leaves = await self._bouncer.leaves()
        self._hear()  # what their hub says of them, and not one before it
        for leaf in leaves:
            known = self._registry.find(leaf.project, leaf.rack)
            state = known.state if known else None
            if claim := self._false_claim(leaf):
                self._refusals.log(f"Rack {leaf.rack} ({leaf.host})", claim)
                await self._bouncer.put_out(leaf, claim)
            elif state is not State.APPROVED:
                await self._bouncer.put_out(leaf, f"it is {state or 'not enrolled'}")
            elif (leaf.project, leaf.rack) in changed:
                await self._bouncer.put_out(leaf, "what it was let in with has changed")

    def _false_claim(self, leaf: LeafLink) -> str:
        """Say what a leaf that was let in makes of itself besides, or ""."""
        if leaf.plays_hub:
            return "its leaf claims to be a hub"
        domain = self._domains.of(leaf.connection)
        return "" if domain in {"", leaf.rack} else f"its leaf claims the domain {domain[:64]!r}"

    async def _listen(self) -> None:
        """Tell what nats-server refuses by itself, and learn what only its log says of a leaf."""
        while True:
            self._hear()
            await asyncio.sleep(LISTEN_S)

    def _hear(self) -> None:
        for line in self._hub.news():
            self._domains.hear(line)
            if match := _LINE.search(line):
                self._tell(match[1], int(match[2]), match[3])

    def _tell(self, host: str, connection: int, said: str) -> None:
        why = explained(said)
        if why and not self._visitors.was_refused(connection):
            self._refusals.log(self._visitors.who(connection) or host, why)


def explained(said: str) -> str:
    """Say in our words what nats-server says of a connection that it refuses; "" for anything else."""
    for pattern, words in _SAID:
        if match := pattern.match(said):
            return _CHANGING.sub("", words.format(*match.groups()))
    return ""
