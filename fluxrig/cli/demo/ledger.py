"""The ledger: what the Rack accepted against what stands in Parquet, by sequence number.

The Rack numbers each message that its leaf has stored, without gaps, and reports the numbers that it
accepted. The Mixer writes that number into each row. So the two sides are counted independently of each
other, and a message that is lost, stored twice or moved shows, whatever path it took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import NamedTuple


class Row(NamedTuple):
    """One message in Parquet."""

    leaf_seq: int
    """The number that the Rack gave it."""
    stream_seq: int
    """The number of the parcel in which the hub stored it; one parcel holds one message or many."""
    id: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts of messages."""

    accepted: int
    """Accepted by the Rack: their receipts settled."""
    stored: int
    """Rows in Parquet."""
    lost: int
    """Accepted, and in no row."""
    duplicated: int
    """Rows that repeat a number or an id."""
    out_of_order: int
    """Rows that stand behind one with a higher number, of the Rack's or of the hub's."""

    @property
    def balances(self) -> bool:
        return self.accepted == self.stored and not (self.lost or self.duplicated or self.out_of_order)


def reckon(accepted: range, rows: Sequence[Row]) -> Ledger:
    """Count the faults in `rows`, as they stand in the files, against the accepted numbers."""
    return Ledger(
        accepted=len(accepted),
        stored=len(rows),
        lost=len(set(accepted).difference(row.leaf_seq for row in rows)),
        duplicated=_repeats(rows),
        out_of_order=sum(starmap(_steps_back, pairwise(rows))),
    )


def _steps_back(earlier: Row, later: Row) -> bool:
    return later.leaf_seq < earlier.leaf_seq or later.stream_seq < earlier.stream_seq


def _repeats(rows: Sequence[Row]) -> int:
    numbers: set[int] = set()
    ids: set[str] = set()
    repeats = 0
    for row in rows:
        repeats += row.leaf_seq in numbers or row.id in ids
        numbers.add(row.leaf_seq)
        ids.add(row.id)
    return repeats
