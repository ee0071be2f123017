"""Scans: one client tries many things at one server in short time, and gets little. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from gears.network_sniffer.exchange import Gist
from gears.network_sniffer.flow import Flow

SCAN_NS: Final = 60_000_000_000
"""Within this time so many are a scan."""
MAX_KNOWN: Final = 65_536
"""Facts of each kind that are remembered; then nothing new is told any more."""

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
_NOBODY: Final = frozenset({10, 11})
"""What a gateway says for a unit that it has no path to, or no answer from."""


class Finding(NamedTuple):
    """Something unusual."""

    code: str
    severity: str
    detail: str
    evidence: dict[str, Any]


class Kind(NamedTuple):
    """What is tried."""

    code: str
    things: str
    enough: int
    detail: str


FUNCTIONS: Final = Kind(
    "function_scan", "functions", 5, "many function codes that are refused or new: a scan"
)
ADDRESSES: Final = Kind("address_scan", "addresses", 16, "many addresses refused for the first time: a scan")
UNITS: Final = Kind("unit_scan", "units", 8, "many units that do not answer asked for the first time: a scan")


class Scans:
    """Counts what one client tries at one server."""

    def __init__(self) -> None:
        self._tried: set[tuple[Any, ...]] = set()
        """Addresses that were refused, units that were silent: asked for again and again they are no scan."""
        self._recent: dict[tuple[str, str, str], dict[int, int]] = {}
        """By what is tried, client and server: the things, and when each was tried last."""

    def look(self, flow: Flow, gist: Gist, ts: int, *, new_function: bool) -> Iterator[Finding]:
        """Take an exchange that was refused, or is the first of its function at its unit."""
        unit, fc, table, address, _ = gist.poll
        if new_function or gist.exception == ILLEGAL_FUNCTION:
            yield from self._count(FUNCTIONS, flow, fc, ts)
        if (
            gist.exception == ILLEGAL_ADDRESS
            and address is not None
            and self._first(flow, unit, table, address)
        ):
            yield from self._count(ADDRESSES, flow, address, ts)
        silent = gist.outcome[1] == "timeout" or gist.exception in _NOBODY
        if silent and self._first(flow, unit):
            yield from self._count(UNITS, flow, unit, ts)

    def _first(self, flow: Flow, *thing: Any) -> bool:
        return is_new(self._tried, (flow.client[0], flow.server_key, *thing))

    def _count(self, kind: Kind, flow: Flow, thing: int, ts: int) -> Iterator[Finding]:
        key = kind.code, flow.client[0], flow.server_key
        if len(self._recent) >= MAX_KNOWN:
            self._recent.clear()
        tried = {**self._recent.get(key, {}), thing: ts}
        recent = {one: seen for one, seen in tried.items() if ts - seen <= SCAN_NS}
        if len(recent) < kind.enough:
            self._recent[key] = recent
            return
        del self._recent[key]
        yield Finding(kind.code, "high", kind.detail, {kind.things: sorted(recent)})


def is_new(known: set[Any], fact: Any) -> bool:
    """Remember a fact; say whether it was new and could be remembered."""
    if fact in known or len(known) >= MAX_KNOWN:
        return False
    known.add(fact)
    return True
