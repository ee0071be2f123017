"""From a run of stored messages to Arrow batches by table and day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, groupby
from typing import Final

import pyarrow as pa

from fluxrig.bus import Stored
from mixer.audit.origin import Marks
from mixer.audit.rows import Rows, rows_of, set_aside
from mixer.audit.tables import MESSAGES, QUARANTINE, SAMPLES, Table

_DAY_NS: Final = 86_400 * 10**9
_CHUNK_BYTES: Final = 2 << 20

Batches = dict[tuple[str, str], list[pa.RecordBatch]]


@dataclass(slots=True)
class Tabulated:
    """A run of stored messages, in the order of the stream, as what one commit writes."""

    first: int
    last: int
    batches: Batches = field(default_factory=dict)
    """By table name and UTC day (`2026-11-21`) on which the hub stored the messages.

    The day is the hub's, not the message's: a device may claim any time, and a folder per claim has no bound.
    """
    marks: dict[str, int] = field(default_factory=dict)
    """By leaf: the number of the last message among these."""
    racks: dict[str, int] = field(default_factory=dict)
    """By Rack: when the hub last stored something of it, ns since the Unix epoch."""

    def rows(self, table: Table) -> int:
        batches = (some for (name, _), some in self.batches.items() if name == table.name)
        return sum(batch.num_rows for batch in chain.from_iterable(batches))

    @property
    def size(self) -> int:
        """How many rows there are in all tables together."""
        return sum(batch.num_rows for batch in chain.from_iterable(self.batches.values()))

    @property
    def nbytes(self) -> int:
        return sum(batch.nbytes for batch in chain.from_iterable(self.batches.values()))

    def extend(self, other: Tabulated) -> None:
        """Append the run that follows this one."""
        self.last = other.last
        for place, batches in other.batches.items():
            self.batches.setdefault(place, []).extend(batches)
        self.marks |= other.marks
        self.racks |= other.racks


def tabulate(stream: str, stored: Sequence[Stored], marks: Marks) -> Tabulated:
    """Turn a run of stored messages, at least one, into batches; `marks` moves on with them."""
    result = Tabulated(stored[0].seq, stored[-1].seq)
    for day, run in groupby(stored, lambda item: item.time_ns // _DAY_NS):
        for chunk in _chunks(run):
            rows = [rows_of(stream, item, marks) for item in chunk]
            for table, batch in _batches(stream, rows):
                result.batches.setdefault((table.name, _date(day)), []).append(batch)
            result.racks |= {rack: item.stored.time_ns for item in rows if (rack := item.origin.rack)}
            result.marks |= {
                leaf: marks[leaf] for item in rows if (leaf := item.origin.leaf) and leaf in marks
            }
    return result


def _chunks(stored: Iterable[Stored]) -> Iterator[list[Stored]]:
    """Cut a run where its payloads reach a size: as Python objects rows take many times that."""
    chunk: list[Stored] = []
    size = 0
    for item in stored:
        chunk.append(item)
        size += len(item.payload)
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _batches(stream: str, rows: list[Rows]) -> Iterator[tuple[Table, pa.RecordBatch]]:
    """Make the batches of some messages; where Arrow refuses a value, halve them until it stands alone."""
    try:
        made = [(table, table.batch(some)) for table, some in _by_table(rows) if some]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        if len(rows) == 1:
            rows = [set_aside(stream, rows[0], f"no row can hold it: {error}")]
            yield QUARANTINE, QUARANTINE.batch(rows[0].quarantine)
        else:
            yield from _batches(stream, rows[: len(rows) // 2])
            yield from _batches(stream, rows[len(rows) // 2 :])
    else:
        yield from made


def _by_table(rows: list[Rows]) -> Iterator[tuple[Table, list[tuple[object, ...]]]]:
    yield MESSAGES, [row for item in rows for row in item.messages]
    yield SAMPLES, [row for item in rows for row in item.samples]
    yield QUARANTINE, [row for item in rows for row in item.quarantine]


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
