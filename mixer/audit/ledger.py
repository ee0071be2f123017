"""The ledger: whether each number that a leaf gave out has its row, once and in order; and if not, why not.

A leaf numbers what it accepts without a gap. What its store let go of before the Mixer had it (the Rack
file's policy) or lost (its disk) the Rack says in events of its own, by number: `store.dropped` and
`store.lost`. A gap that nothing explains is a message that is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

from mixer.audit.listing import stats
from mixer.audit.query import Limits, query
from mixer.audit.source import Place

MAX_GAPS: Final = 1000
"""How many gaps of a leaf are given one by one."""

_RUNS: Final = """
SELECT stream, leaf, any_value(rack) AS rack, min(leaf_seq) AS first, max(leaf_seq) AS last
FROM (SELECT stream, leaf, rack, leaf_seq,
             leaf_seq - row_number() OVER (PARTITION BY stream, leaf ORDER BY leaf_seq) AS run
      FROM (SELECT DISTINCT stream, leaf, rack, leaf_seq FROM messages
            WHERE leaf IS NOT NULL AND leaf_seq IS NOT NULL))
GROUP BY stream, leaf, run ORDER BY stream, leaf, first"""
_COUNTS: Final = """
SELECT stream, leaf, count(*) AS rows, count(*) - count(DISTINCT leaf_seq) AS doubled,
       count(*) FILTER (leaf_seq < before) AS out_of_order
FROM (SELECT stream, leaf, leaf_seq,
             lag(leaf_seq) OVER (PARTITION BY stream, leaf ORDER BY stream_seq, leaf_seq) AS before
      FROM messages WHERE leaf IS NOT NULL AND leaf_seq IS NOT NULL)
GROUP BY stream, leaf"""
_TOLD: Final = """
SELECT rack, data->>'$.stream' AS stream, data->>'$.leaf' AS leaf, data->>'$.reason' AS reason,
       (data->>'$.first')::BIGINT AS first, (data->>'$.last')::BIGINT AS last
FROM messages WHERE schema = 'fluxrig.event/1' AND data->>'$.event' IN ('store.dropped', 'store.lost')"""
_ASIDE: Final = "SELECT stream, leaf, leaf_seq FROM quarantine WHERE leaf_seq IS NOT NULL"


class Run(NamedTuple):
    """Numbers, first to last."""

    first: int
    last: int


class Gap(NamedTuple):
    """Numbers without a row, and why: `dropped` (policy), `lost` (disk), `set aside`, `pruned`, `missing`."""

    first: int
    last: int
    why: str


@dataclass(slots=True)
class LeafLedger:
    """What came of the numbers of one leaf's stream."""

    stream: str
    leaf: str
    rack: str
    last: int
    rows: int = 0
    doubled: int = 0
    out_of_order: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """How many numbers have no row, by why."""
    gaps: list[Gap] = field(default_factory=list)

    @property
    def balances(self) -> bool:
        return not (self.counts.get("missing") or self.doubled or self.out_of_order)


def ledger(place: Place, limits: Limits | None = None) -> list[dict[str, Any]]:
    """Give the ledger of each leaf's stream in an audit store. Raises AuditError as `query` does."""
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    racks: dict[tuple[str, str], str] = {}
    for row in _rows(place, _RUNS, limits):
        runs[row["stream"], row["leaf"]].append(Run(row["first"], row["last"]))
        racks[row["stream"], row["leaf"]] = row["rack"]
    told = _told(_rows(place, _TOLD, limits), racks)
    aside = _aside(_rows(place, _ASIDE, limits))
    pruned = stats(place)["lines"]["prune"] > 0
    leaves = {}
    for key, found in runs.items():
        leaves[key] = one = LeafLedger(*key, racks[key], found[-1].last)
        _account(one, found, told[key], aside[key], pruned=pruned)
    for row in _rows(place, _COUNTS, limits):
        one = leaves[row["stream"], row["leaf"]]
        one.rows, one.doubled, one.out_of_order = row["rows"], row["doubled"], row["out_of_order"]
    return [{**asdict(one), "balances": one.balances} for one in leaves.values()]


def _rows(place: Place, sql: str, limits: Limits | None) -> list[dict[str, Any]]:
    with query(place, sql, limits) as reader:
        return [row for batch in reader for row in batch.to_pylist()]


def _told(
    rows: Iterable[dict[str, Any]], racks: dict[tuple[str, str], str]
) -> dict[tuple[str, str], list[Gap]]:
    """Give what Racks said of their own leaves; a Rack has no say in another's."""
    told: dict[tuple[str, str], list[Gap]] = defaultdict(list)
    for row in rows:
        key = row["stream"], row["leaf"]
        if racks.get(key) == row["rack"]:
            why = "lost" if row["reason"] == "disk" else "dropped"
            told[key].append(Gap(row["first"], row["last"], why))
    return told


def _aside(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    aside: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        aside[row["stream"], row["leaf"]].append(row["leaf_seq"])
    return aside


def _account(found: LeafLedger, runs: list[Run], told: list[Gap], aside: list[int], *, pruned: bool) -> None:
    """Note each number of a leaf that is in no run, and why."""
    for gap in holes(runs):
        for first, last, said in explained(gap, told):
            why = said
            if said == "missing" and any(first <= number <= last for number in aside):
                why = "set aside"
            elif said == "missing" and pruned and last < runs[0].first:
                why = "pruned"
            found.counts[why] = found.counts.get(why, 0) + last - first + 1
            if len(found.gaps) < MAX_GAPS:
                found.gaps.append(Gap(first, last, why))


def holes(runs: list[Run]) -> Iterator[Run]:
    """Give the numbers from 0 on that are in no run; runs are in order and do not touch."""
    for before, behind in pairwise([Run(-1, -1), *runs]):
        if behind.first > before.last + 1:
            yield Run(before.last + 1, behind.first - 1)


def explained(gap: Run, told: Iterable[Gap]) -> Iterator[Gap]:
    """Cut a gap where what was told begins and ends; what nobody told of is missing."""
    at = gap.first
    for one in sorted(told):
        first, last = max(one.first, at), min(one.last, gap.last)
        if first > last:
            continue
        if first > at:
            yield Gap(at, first - 1, "missing")
        yield Gap(first, last, one.why)
        at = last + 1
    if at <= gap.last:
        yield Gap(at, gap.last, "missing")
