"""What is usual on the network, learned for a while; then what is new, and scans at any time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gears.network_sniffer.flow import Flow

SCAN_FUNCTIONS: Final = 5
"""So many function codes refused or new, from one client at one server …"""
SCAN_NS: Final = 60_000_000_000
"""… within this time are a scan."""
MAX_KNOWN: Final = 65_536
"""Facts of each kind that are remembered; then nothing new is told any more."""
ILLEGAL_FUNCTION: Final = 1


class Finding(NamedTuple):
    """Something that the baseline does not know."""

    code: str
    severity: str
    detail: str
    evidence: dict[str, Any]


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
        self._suspects: dict[tuple[str, str], dict[int, int]] = {}
        """By client and server: function codes that were refused or are new, and when last."""

    def findings(self, flow: Flow, fc: int, unit: int, ts: int, exception: int | None) -> Iterator[Finding]:
        """Take one exchange. Cheap for what is usual."""
        if self._since is None:
            self._since = ts
        if (unit, fc) in flow.link.known:
            if exception == ILLEGAL_FUNCTION:
                yield from self._suspect(flow, fc, ts)
            return
        flow.link.known.add((unit, fc))
        self.changed = True
        client, server = flow.client[0], flow.server_key
        learning = ts < self._since + self._learn_ns
        if _is_new(self._clients, (client, server)) and not learning:
            yield Finding("new_client", "medium", "a client that the baseline does not know", {"unit": unit})
        writes = fc in flow.traits.writes
        if writes and _is_new(self._writers, (client, server, unit)) and not learning:
            evidence = {"unit": unit, "fc": fc}
            yield Finding("new_writer", "high", "a client that never wrote there writes", evidence)
        new = _is_new(self._functions, (client, server, fc)) and not learning
        if new:
            evidence = {"unit": unit, "fc": fc}
            yield Finding("new_function", "medium", "a function that was never used there", evidence)
        if new or exception == ILLEGAL_FUNCTION:
            yield from self._suspect(flow, fc, ts)

    def learned(self) -> Learned | None:
        """Give a copy of what is known; None before the first exchange."""
        self.changed = False
        if self._since is None:
            return None
        facts = frozenset(self._clients), frozenset(self._writers), frozenset(self._functions)
        return Learned(self._since, *facts)

    def _suspect(self, flow: Flow, fc: int, ts: int) -> Iterator[Finding]:
        """Look for a scan of function codes."""
        key = flow.client[0], flow.server_key
        if len(self._suspects) >= MAX_KNOWN:
            self._suspects.clear()
        suspect = self._suspects.setdefault(key, {})
        suspect[fc] = ts
        recent = {code: seen for code, seen in suspect.items() if ts - seen <= SCAN_NS}
        if len(recent) < SCAN_FUNCTIONS:
            self._suspects[key] = recent
            return
        del self._suspects[key]
        detail = "many function codes that are refused or new, in short time: a scan"
        yield Finding("function_scan", "high", detail, {"functions": sorted(recent)})


def _is_new(known: set[Any], fact: Any) -> bool:
    """Remember a fact; say whether it was new and could be remembered."""
    if fact in known or len(known) >= MAX_KNOWN:
        return False
    known.add(fact)
    return True
