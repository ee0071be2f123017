"""From a run of stored messages to Arrow batches by table and day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, groupby
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fluxrig.bus import Stored
from mixer.audit.bulk.decode import Decoded, decode
from mixer.audit.bulk.pieces import Pieces
from mixer.audit.columns import Columns, derive
from mixer.audit.derived import EVENTS, derived
from mixer.audit.entries import leaves_of
from mixer.audit.origin import Marks
from mixer.audit.parcel import Parcel, joined, unpack
from mixer.audit.tables import MESSAGES, QUARANTINE, Table

_HOUR_NS: Final = 3600 * 10**9
_DAY_NS: Final = 24 * _HOUR_NS
_CHUNK_BYTES: Final = 2 << 20
_TYPES: Final = {field.name: field.type for field in MESSAGES.schema}

Batches = dict[tuple[str, str], list[pa.RecordBatch]]


@dataclass(slots=True)
class Tabulated:
    """A run of stored messages, in the order of the stream, as what one commit writes."""

    first: int
    last: int
    batches: Batches = field(default_factory=dict)
    """By table name and UTC day (`2026-11-21`) or hour (`2026-11-21T13`) when the hub stored the messages.

    The time is the hub's, not the message's: a device may claim any, and a folder per claim has no bound.
    """
    leaves: dict[tuple[str, str], bytearray] = field(default_factory=dict)
    """The leaf hashes of the rows of `batches`, one after another; none of derived tables."""
    marks: dict[str, int] = field(default_factory=dict)
    """By Rack and leaf, as in `Marks`: the number of the last message among these."""
    racks: dict[str, int] = field(default_factory=dict)
    """By Rack: when the hub last stored something of it, ns since the Unix epoch."""
    forged: dict[str, list[int]] = field(default_factory=dict)
    """By the mark of the Rack whose leaf gave them to the hub: sequences of messages in another's name."""
    size: int = 0
    """How many rows there are in all tables together."""
    nbytes: int = 0

    def rows(self, table: Table) -> int:
        batches = (some for (name, _), some in self.batches.items() if name == table.name)
        return sum(batch.num_rows for batch in chain.from_iterable(batches))

    def add(self, table: Table, day: str, batch: pa.RecordBatch) -> None:
        place = table.name, day
        self.batches.setdefault(place, []).append(batch)
        self.leaves.setdefault(place, bytearray()).extend(b"".join(leaves_of(table, columns_of(batch))))
        self.size += batch.num_rows
        self.nbytes += batch.nbytes

    def extend(self, other: Tabulated) -> None:
        """Append the run that follows this one."""
        self.last = other.last
        for place, batches in other.batches.items():
            self.batches.setdefault(place, []).extend(batches)
            self.leaves.setdefault(place, bytearray()).extend(other.leaves[place])
        self.marks |= other.marks
        self.racks |= other.racks
        for mark, seqs in other.forged.items():
            self.forged.setdefault(mark, []).extend(seqs)
        self.size += other.size
        self.nbytes += other.nbytes


def tabulate(stream: str, stored: Sequence[Stored], marks: Marks, *, hourly: bool = False) -> Tabulated:
    """Turn a run of stored messages, at least one, into batches; `marks` moves on with them."""
    result = Tabulated(stored[0].seq, stored[-1].seq)
    length_ns = _HOUR_NS if hourly else _DAY_NS
    for period, run in groupby(stored, lambda item: item.time_ns // length_ns):
        partition = _name(period * length_ns, hourly)
        for chunk in _chunks(run):
            parcels, pieces, decoded = unpack(chunk, marks)
            for table, batch in _batches(stream, parcels, pieces, decoded):
                result.add(table, partition, batch)
            _note(result, parcels, marks)
    return result


def _note(result: Tabulated, parcels: list[Parcel], marks: Marks) -> None:
    for parcel in parcels:
        origin = parcel.origin
        if origin.rack:
            result.racks[origin.rack] = parcel.stored.time_ns
        if parcel.forged and parcel.stored.source is not None:
            result.forged.setdefault(parcel.stored.source.mark, []).append(parcel.stored.seq)
        if origin.key is not None and origin.leaf_seq is not None:
            result.marks[origin.key] = marks[origin.key]


def _chunks(stored: Iterable[Stored]) -> Iterator[list[Stored]]:
    """Cut a run where its payloads reach a size: as Python objects messages take many times that."""
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


def _batches(
    stream: str, parcels: list[Parcel], pieces: Pieces, decoded: Decoded
) -> Iterator[tuple[Table, pa.RecordBatch]]:
    """Make the batches of some parcels; where a column refuses a value, halve them until it stands alone."""
    try:
        made = [*_made(stream, parcels, pieces, decoded)]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        if len(parcels) == 1:
            parcels[0].set_aside(f"no row can hold it: {error}")
            yield QUARANTINE, QUARANTINE.batch(_quarantine(stream, parcels))
            return
        for half in (parcels[: len(parcels) // 2], parcels[len(parcels) // 2 :]):
            own = joined(half)
            yield from _batches(stream, half, own, decode(own, EVENTS))
    else:
        yield from ((table, batch) for table, batch in made if batch.num_rows)


def _made(
    stream: str, parcels: list[Parcel], pieces: Pieces, decoded: Decoded
) -> Iterator[tuple[Table, pa.RecordBatch]]:
    columns = _places(stream, parcels) | derive(pieces, decoded)
    yield MESSAGES, MESSAGES.batch(columns)
    yield from derived(decoded, columns)
    if aside := [parcel for parcel in parcels if parcel.reason]:
        yield QUARANTINE, QUARANTINE.batch(_quarantine(stream, aside))


def columns_of(batch: pa.RecordBatch) -> Columns:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _places(stream: str, parcels: list[Parcel]) -> Columns:
    rows = [parcel.rows for parcel in parcels]
    of = np.repeat(np.arange(len(parcels)), rows)
    firsts = np.array([-1 if parcel.first is None else parcel.first for parcel in parcels], np.int64)
    within = np.arange(len(of)) - np.repeat(np.cumsum([0, *rows])[:-1], rows)
    own: dict[str, list[Any]] = {
        "stream_seq": [parcel.stored.seq for parcel in parcels],
        "received": [parcel.stored.time_ns for parcel in parcels],
        "leaf": [parcel.origin.leaf for parcel in parcels],
    }
    places = {name: pa.array(values, _TYPES[name]).take(pa.array(of)) for name, values in own.items()}
    places["stream"] = pa.repeat(pa.scalar(stream), len(of))
    places["leaf_seq"] = pa.array(firsts[of] + within, mask=firsts[of] < 0)
    return places


def _quarantine(stream: str, parcels: list[Parcel]) -> dict[str, list[Any]]:
    return {
        "stream": [stream] * len(parcels),
        "stream_seq": [parcel.stored.seq for parcel in parcels],
        "leaf": [parcel.origin.leaf for parcel in parcels],
        "leaf_seq": [parcel.origin.leaf_seq for parcel in parcels],
        "received": [parcel.stored.time_ns for parcel in parcels],
        "rack": [parcel.origin.rack for parcel in parcels],
        "subject": [parcel.stored.subject for parcel in parcels],
        "reason": [parcel.reason for parcel in parcels],
        "payload": [parcel.stored.payload for parcel in parcels],
    }


def _name(start_ns: int, hourly: bool) -> str:
    """Name a partition as `layout.file_path` takes it."""
    return f"{datetime.fromtimestamp(start_ns // 10**9, UTC):{'%Y-%m-%dT%H' if hourly else '%Y-%m-%d'}}"
