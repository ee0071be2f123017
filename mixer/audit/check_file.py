"""One commit's files of one day, recomputed from their Parquet and held against what was signed."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxrig import evidence
from mixer.audit.bulk.decode import decode
from mixer.audit.bulk.pieces import Pieces
from mixer.audit.columns import derive
from mixer.audit.derived import EVENTS, derived
from mixer.audit.difference import Difference, differences
from mixer.audit.entries import leaves_of
from mixer.audit.layout import LEAF_START, leaves_path
from mixer.audit.manifest import FileEntry
from mixer.audit.parquet import arrange
from mixer.audit.source import Source
from mixer.audit.tables import MESSAGES, TABLES, Table, columns_of

MAX_FINDINGS: Final = 20
"""Of one file; the rest are counted."""
_CHUNK_ROWS: Final = 20_000


class Finding(NamedTuple):
    """One thing that isn't as it was signed. `row` counts from 0; None is the whole file."""

    file: str
    row: int | None
    what: str
    id: str = ""
    """Of the message in that row."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one commit brought for one day, as far as it is still part of the store."""

    store: Source
    files: tuple[FileEntry, ...]
    roots: dict[str, str]
    """By path: the roots of the parts of a compacted file, as they were signed first."""


@dataclass(slots=True)
class Outcome:
    """What became of a job. `digests` has the SHA-256 of each file as it was found."""

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)


def check(job: Job) -> Outcome:
    """Check the files of a job."""
    gc.disable()  # a million messages are no garbage, and looking through them takes most of the time
    try:
        return _check(job)
    finally:
        gc.enable()


def _check(job: Job) -> Outcome:
    outcome = Outcome()
    made: dict[str, list[pa.RecordBatch]] = {}
    for entry in sorted(job.files, key=lambda file: file.table != MESSAGES.name):
        outcome.rows += entry.rows
        before = len(outcome.findings)
        try:
            _take(outcome, entry, _check_one(job, entry, outcome, made))
        except Exception as error:  # noqa: BLE001 - a line that somebody changed may say anything of its file
            what = f"the file can't be checked as its line asks: {type(error).__name__}: {_line(error)}"
            outcome.findings.append(Finding(entry.path, None, what))
        if len(outcome.findings) == before and outcome.digests.get(entry.path) != entry.sha256:
            what = "the bytes of the file were changed; its rows are as signed"
            outcome.findings.append(Finding(entry.path, None, what))
    return outcome


def _check_one(
    job: Job, entry: FileEntry, outcome: Outcome, made: dict[str, list[pa.RecordBatch]]
) -> Iterator[Finding]:
    """Check one file. `made` takes what the messages give; without them no derived row can be held."""
    rows = _load(job, entry, outcome)
    if rows is None:
        return
    if entry.table == MESSAGES.name:
        made[entry.table] = []
        yield from _check_messages(job, entry, rows, made)
    elif entry.root:
        yield from _check_tree(job, entry, leaves_of(TABLES[entry.table], _columns(rows)), rows)
    elif MESSAGES.name in made:
        yield from _check_derived(entry, rows, made.get(entry.table, []))


def _take(outcome: Outcome, entry: FileEntry, findings: Iterator[Finding]) -> None:
    outcome.findings += islice(findings, MAX_FINDINGS)
    if more := sum(1 for _ in findings):
        outcome.findings.append(Finding(entry.path, None, f"{more} more rows are not as signed"))


def _load(job: Job, entry: FileEntry, outcome: Outcome) -> pa.Table | None:
    """Read a file whole; what can't be read is a finding."""
    try:
        data = job.store.read(entry.path)
    except FileNotFoundError:
        outcome.findings.append(Finding(entry.path, None, f"the file was removed, with {entry.rows} rows"))
        return None
    outcome.digests[entry.path] = hashlib.sha256(data).hexdigest()
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        outcome.findings += _unreadable(entry, data, error)
        return None
    schema = columns_of(TABLES[entry.table], entry.columns)
    if missing := [name for name in schema.names if name not in table.column_names]:
        outcome.findings.append(Finding(entry.path, None, f"the columns {', '.join(missing)} were removed"))
        return None
    if extra := [name for name in table.column_names if name not in schema.names]:
        outcome.findings.append(Finding(entry.path, None, f"the columns {', '.join(extra)} were added"))
    try:
        return table.select(schema.names).cast(schema).combine_chunks()
    except (pa.ArrowException, ValueError) as error:
        what = f"a column is of another type: {_line(error)}"
        outcome.findings.append(Finding(entry.path, None, what))
        return None


def _unreadable(entry: FileEntry, data: bytes, error: Exception) -> Iterator[Finding]:
    """Name the rows and columns whose pages can't be read."""
    found = False
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError):
        yield Finding(entry.path, None, f"the file can't be read: {_line(error)}")
        return
    row = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        for name in file.schema_arrow.names:
            try:
                file.read_row_group(group, [name])
            except (pa.ArrowException, OSError) as fault:
                found = True
                what = f"column {name} of rows {row} to {row + rows - 1} can't be read: {_line(fault)}"
                yield Finding(entry.path, row, what)
        row += rows
    if not found:
        yield Finding(entry.path, None, f"the file can't be read: {_line(error)}")


def _check_messages(
    job: Job, entry: FileEntry, rows: pa.Table, made: dict[str, list[pa.RecordBatch]]
) -> Iterator[Finding]:
    """Hold the tree and every column against the canonical bytes; `made` takes the derived rows."""
    leaves: list[bytes] = []
    findings: list[Finding] = []
    for start in range(0, rows.num_rows, _CHUNK_ROWS):
        chunk = rows.slice(start, _CHUNK_ROWS).combine_chunks()
        leaves += leaves_of(MESSAGES, _columns(chunk))
        findings += _check_columns(entry, chunk, start, made)
    tree = [*_check_tree(job, entry, leaves, rows)]
    named = {one.row for one in tree}
    yield from tree
    yield from (one for one in findings if one.row not in named)


def _check_columns(
    entry: FileEntry, chunk: pa.Table, start: int, made: dict[str, list[pa.RecordBatch]]
) -> Iterator[Finding]:
    pieces = Pieces.from_array(chunk["cbor"].combine_chunks().fill_null(b""))
    decoded = decode(pieces, EVENTS)
    places = list(range(chunk.num_rows))
    if bad := {*decoded.bad}:
        yield from (
            Finding(entry.path, start + row, "cbor holds no message", _id(chunk, row)) for row in sorted(bad)
        )
        places = [row for row in places if row not in bad]
        chunk = chunk.take(pa.array(places, pa.int64())).combine_chunks()
        pieces = pieces.take(places)
        decoded = decode(pieces, EVENTS)
    columns = derive(pieces, decoded)
    for name, expected in columns.items():
        if name not in chunk.column_names:
            continue  # written before there was such a column
        for row in _unlike(expected, chunk[name]):
            what = f"column {name} was changed: it does not follow from the message"
            yield Finding(entry.path, start + places[row], what, _id(chunk, row))
    columns["stream_seq"] = chunk["stream_seq"].combine_chunks()
    for table, batch in derived(decoded, columns):
        made.setdefault(table.name, []).append(batch)


def _check_tree(job: Job, entry: FileEntry, leaves: list[bytes], rows: pa.Table) -> Iterator[Finding]:
    if not entry.root:
        yield Finding(entry.path, None, "was written without evidence: nothing proves its rows")
        return
    name, starts = leaves_path(entry.path), None
    with suppress(FileNotFoundError):
        starts = job.store.read(name)
    is_signed = starts is not None and hashlib.sha256(starts).hexdigest() == entry.leaves
    if evidence.root(leaves).hex() != entry.root:
        if starts is not None and is_signed:
            yield from _locate(entry, starts, leaves, rows)
        else:
            what = f"rows were changed; which ones {name} would say, but it was changed too"
            yield Finding(entry.path, None, what)
        return
    if not is_signed:
        yield Finding(name, None, "was removed" if starts is None else "was changed")
    at = 0
    for path, count in entry.parts:
        if evidence.root(leaves[at : at + count]).hex() != job.roots.get(path):
            yield Finding(entry.path, at, f"rows {at} to {at + count - 1} are not those that {path} had")
        at += count


def _locate(entry: FileEntry, starts: bytes, leaves: Sequence[bytes], rows: pa.Table) -> Iterator[Finding]:
    """Name the rows that are not as signed; `starts` has the start of each leaf hash as it was."""
    signed = [starts[at : at + LEAF_START] for at in range(0, len(starts), LEAF_START)]
    found = [leaf[:LEAF_START] for leaf in leaves]
    for one in differences(signed, found):
        yield Finding(entry.path, one.row, _what(one), _id(rows, one.row) if one.kind != "removed" else "")


def _check_derived(entry: FileEntry, rows: pa.Table, made: list[pa.RecordBatch]) -> Iterator[Finding]:
    """Hold a derived table against what the messages give."""
    table: Table = TABLES[entry.table]
    names = rows.column_names
    expected = arrange(table, made).combine_chunks().select(names)
    if expected.num_rows == rows.num_rows:
        unlike = {name: _unlike(expected[name], rows[name]) for name in names}
        if not any(unlike.values()):
            return
    signed, found = ([repr(row) for row in _rows(one)] for one in (expected, rows))
    for one in differences(signed, found):
        columns = ""
        if one.kind == "changed" and one.was is not None:
            pairs = zip(names, expected.slice(one.was, 1), rows.slice(one.row, 1), strict=True)
            columns = ", ".join(name for name, was, has in pairs if _unlike(was, has))
        what = _what(one) + (f" (column {columns})" if columns else "")
        yield Finding(entry.path, one.row, what, _id(rows, one.row) if one.kind != "removed" else "")


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(_plain(column).to_pylist() for column in table.columns), strict=True)


def _what(one: Difference) -> str:
    if one.kind == "moved":
        return f"the row was moved: it was signed as row {one.was}"
    if one.kind == "removed":
        return f"a row was removed: it was signed as row {one.was}"
    return f"the row was {one.kind}" + (" after it was signed" if one.kind == "changed" else "")


def _unlike(expected: Any, found: Any) -> list[int]:
    """Give the rows in which two columns differ; floats are compared bit by bit."""
    one, other = _plain(expected), _plain(found)
    if one.equals(other):
        return []
    same = pc.or_(pc.fill_null(pc.equal(one, other), False), pc.and_(pc.is_null(one), pc.is_null(other)))
    return [row for row, is_same in enumerate(same.to_pylist()) if not is_same]


def _plain(column: Any) -> pa.Array:
    """Give a column as one array of a type that compares exactly."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.int64())
    return array.view(pa.int64()) if pa.types.is_floating(array.type) else array


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    return {name: table[name].combine_chunks() for name in table.column_names}


def _id(rows: pa.Table, row: int) -> str:
    if "id" not in rows.column_names or row >= rows.num_rows:
        return ""
    return str(rows["id"][row].as_py())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
