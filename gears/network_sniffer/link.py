"""What is counted of a link, that is, of one client and one server: functions, ranges, rhythm. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import sqrt
from typing import Any, Final

from gears.network_sniffer.exchange import Gist

MAX_POLLS: Final = 256
"""Different requests of one link whose rhythm is followed."""
SHOWN_POLLS: Final = 16
MAX_RANGES: Final = 32
"""Ranges told for one table; beyond, those nearest to each other are joined."""


class Poll:
    """The rhythm of one request that is repeated: mean and deviation of the intervals (Welford 1962)."""

    __slots__ = ("count", "last_ts", "mean_ns", "square")

    def __init__(self, ts: int) -> None:
        self.count = 0
        """Intervals."""
        self.last_ts = ts
        self.mean_ns = 0.0
        self.square = 0.0

    def again(self, ts: int) -> None:
        interval = ts - self.last_ts
        self.last_ts = ts
        self.count += 1
        ahead = interval - self.mean_ns
        self.mean_ns += ahead / self.count
        self.square += ahead * (interval - self.mean_ns)

    def data(self) -> dict[str, int]:
        """Give its period and jitter; the jitter is the standard deviation of the intervals."""
        jitter = sqrt(max(0.0, self.square) / self.count) if self.count else 0.0
        return {
            "count": self.count + 1,
            "period_us": round(self.mean_ns / 1000),
            "jitter_us": round(jitter / 1000),
        }


PollKey = tuple[int, int, str | None, int | None, int | None]
"""Unit, function, table, address, quantity."""


class Link:
    """One client at one server: however many connections, one after another or side by side."""

    __slots__ = (
        "changed",
        "client",
        "first_ts",
        "known",
        "last_ts",
        "polls",
        "protocol",
        "ranges",
        "server",
        "tally",
    )

    def __init__(self, client: str, server: tuple[str, int], protocol: str, ts: int) -> None:
        self.client = client
        self.server = server
        self.protocol = protocol
        self.first_ts = self.last_ts = ts
        self.tally: dict[tuple[int, str], int] = {}
        """Exchanges by function and status."""
        self.polls: dict[PollKey, Poll] = {}
        self.ranges: dict[tuple[int, str, str], list[tuple[int, int]]] = {}
        """By unit, table and access: address of the first, address after the last."""
        self.known: set[tuple[int, int]] = set()
        """Functions at units that the baseline has seen."""
        self.changed = True

    def count(self, gist: Gist, ts: int, asked_ts: int | None) -> None:
        """Count an exchange that happened at `ts`; when it was asked, if that was seen."""
        outcome = gist.outcome
        self.tally[outcome] = self.tally.get(outcome, 0) + 1
        self.changed = True
        if self.last_ts < ts:  # noqa: PLR1730 - done for every exchange, and max() is slow
            self.last_ts = ts
        if asked_ts is None:
            return
        poll = self.polls.get(gist.poll)
        if poll is not None:
            poll.again(asked_ts)
        else:
            self._meet(gist.poll, asked_ts, gist.fields)

    def _meet(self, key: PollKey, ts: int, data: Mapping[str, Any]) -> None:
        if len(self.polls) >= MAX_POLLS:
            rarest = min(self.polls, key=lambda known: (self.polls[known].count, self.polls[known].last_ts))
            del self.polls[rarest]
        self.polls[key] = Poll(ts)
        if data["status"] == "exception":
            return
        unit, _, table, address, quantity = key
        write = data.get("write")
        if write and "address" in write:
            self._extend(unit, "holding", "write", write["address"], write["quantity"])
            write = None
        if table is not None and address is not None and quantity:
            self._extend(unit, table, "write" if write else "read", address, quantity)

    def _extend(self, unit: int, table: str, access: str, address: int, quantity: int) -> None:
        ranges = self.ranges.setdefault((unit, table, access), [])
        ranges.append((address, address + quantity))
        ranges[:] = joined(ranges)

    def data(self) -> dict[str, Any]:
        """Give the data of `ot.link/1`."""
        polls = sorted(self.polls.items(), key=lambda item: (-item[1].count, item[1].last_ts))
        rhythms = [(key, poll.data()) for key, poll in polls[:SHOWN_POLLS] if poll.count]
        functions: Counter[int] = Counter()
        statuses: Counter[str] = Counter()
        for (fc, status), count in self.tally.items():
            functions[fc] += count
            statuses[status] += count
        exchanges = statuses.total()
        failed = exchanges - statuses["ok"] - statuses["orphan_response"]
        data: dict[str, Any] = {
            "client": {"ip": self.client},
            "server": {"ip": self.server[0], "port": self.server[1]},
            "protocol": self.protocol,
            "first_seen": self.first_ts,
            "last_seen": self.last_ts,
            "exchanges": exchanges,
            "functions": {str(fc): count for fc, count in sorted(functions.items())},
            "statuses": {status: count for status, count in sorted(statuses.items()) if count},
            "error_rate": round(failed / exchanges, 6) if exchanges else 0.0,
            "ranges": [
                {"unit": unit, "table": table, "access": access, "address": start, "quantity": end - start}
                for (unit, table, access), ranges in sorted(self.ranges.items())
                for start, end in ranges
            ],
            "polls": [{**_named(key), **rhythm} for key, rhythm in rhythms],
        }
        if rhythms:
            data["period_us"], data["jitter_us"] = rhythms[0][1]["period_us"], rhythms[0][1]["jitter_us"]
        return data


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch; then the nearest ones until no more than MAX_RANGES are left."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((start, end))
    while len(result) > MAX_RANGES:
        at = min(range(1, len(result)), key=lambda n: result[n][0] - result[n - 1][1])
        result[at - 1 : at + 1] = [(result[at - 1][0], result[at][1])]
    return result


def _named(key: PollKey) -> dict[str, Any]:
    names = ("unit", "fc", "table", "address", "quantity")
    return {name: part for name, part in zip(names, key, strict=True) if part is not None}
