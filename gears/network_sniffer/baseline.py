"""What is usual on the network, learned for a while; then what is new. Scans are told at any time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from gears.network_sniffer.exchange import Gist
from gears.network_sniffer.flow import Flow
from gears.network_sniffer.scans import Finding, Scans, is_new


@dataclass(frozen=True, slots=True)
class Learned:
    """What a baseline knows."""

    since_ns: int
    """When learning began, in the time of the capture."""
    clients: Set[tuple[str, str]] = frozenset()
    """Client and server."""
    writers: Set[tuple[str, str, int]] = frozenset()
    """Client, server, unit."""
    functions: Set[tuple[str, str, int]] = frozenset()
    """Client, server, function code."""


class Baseline:
    """Clients of servers, who writes, and functions used."""

    def __init__(self, learn_ns: int, learned: Learned | None = None) -> None:
        """`learned` is what an earlier run knew: its learning goes on, or is over."""
        self.changed = False
        """Whether there is more than `learned` gave the last time."""
        self._learn_ns = learn_ns
        self._since = None if learned is None else learned.since_ns
        self._clients: set[tuple[str, str]] = set(learned.clients if learned else ())
        self._writers: set[tuple[str, str, int]] = set(learned.writers if learned else ())
        self._functions: set[tuple[str, str, int]] = set(learned.functions if learned else ())
        self._scans = Scans()

    def findings(self, flow: Flow, gist: Gist, ts: int) -> Iterator[Finding]:
        """Take an exchange that was refused, or is the first of its function at its unit on its link."""
        if self._since is None:
            self._since = ts
        new_function = False
        if gist.place not in flow.link.known:
            flow.link.known.add(gist.place)
            self.changed = True
            learning = ts < self._since + self._learn_ns
            for finding in self._news(flow, *gist.place):
                if not learning:
                    new_function = new_function or finding.code == "new_function"
                    yield finding
        yield from self._scans.look(flow, gist, ts, new_function=new_function)

    def learned(self) -> Learned | None:
        """Give a copy of what is known; None before the first exchange."""
        self.changed = False
        if self._since is None:
            return None
        facts = frozenset(self._clients), frozenset(self._writers), frozenset(self._functions)
        return Learned(self._since, *facts)

    def _news(self, flow: Flow, unit: int, fc: int) -> Iterator[Finding]:
        """Give what was not seen before, and remember it."""
        client, server = flow.client[0], flow.server_key
        asked = {"unit": unit, "fc": fc}
        if is_new(self._clients, (client, server)):
            yield Finding("new_client", "medium", "a client that the baseline does not know", {"unit": unit})
        if fc in flow.traits.writes and is_new(self._writers, (client, server, unit)):
            yield Finding("new_writer", "high", "a client that never wrote there writes", asked)
        if is_new(self._functions, (client, server, fc)):
            yield Finding("new_function", "medium", "a function that was never used there", asked)
