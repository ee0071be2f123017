"""Compaction: many small files of a day become few large ones, and all that was signed still holds.

The new file has the rows of the old ones in their order, and names each with its rows: the root over these is
the one that was signed when they were written, so verification goes back to the first signature. Files that
are not as they were signed are not touched.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fluxrig import evidence
from fluxrig.errors import AuditError
from mixer.audit.entries import leaves_of
from mixer.audit.layout import partition_of
from mixer.audit.manifest import Commit, FileEntry
from mixer.audit.order import in_order
from mixer.audit.store import AuditStore, Draft
from mixer.audit.tables import MESSAGES, TABLES, columns_of

TARGET_MIB: Final = 32
"""On disk; in memory it is ten times as much."""


@dataclass(slots=True)
class Unit:
    """What one line brought for one day (or hour) of one stream: files that follow from each other."""

    commit: Commit
    day: str
    origin: int
    """The line that first brought the oldest of its rows."""
    files: list[FileEntry] = field(default_factory=list)

    @property
    def has_messages(self) -> bool:
        """False when retention took them and left what follows: such units stay among themselves."""
        return any(file.table == MESSAGES.name for file in self.files)

    @property
    def series(self) -> tuple[str, str, str, bool, tuple[tuple[str, int], ...]]:
        """What units have in common that may become one: also which columns their tables had."""
        columns = tuple(sorted({(file.table, file.columns) for file in self.files}))
        return self.commit.project, self.commit.stream, self.day, self.has_messages, columns

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def plan(store: AuditStore, target_mib: int = TARGET_MIB, least: int = 2) -> list[list[Unit]]:
    """Give the groups of at least `least` neighbours that become one each, at most `target_mib` MiB."""
    groups: list[list[Unit]] = []
    for _, units in groupby(_units(store), lambda unit: unit.series):
        group: list[Unit] = []
        for unit in units:
            if group and sum(one.bytes for one in group) + unit.bytes > target_mib << 20:
                groups.append(group)
                group = []
            group.append(unit)
        groups.append(group)
    return [group for group in groups if len(group) >= max(2, least)]


def compact(
    store: AuditStore, groups: Sequence[list[Unit]], progress: Callable[[int, int], None] | None = None
) -> Iterator[Commit]:
    """Put each group together. Raises AuditError where a file isn't as signed, OSError on a full disk."""
    for done, group in enumerate(groups, 1):
        yield _merge(store, group)
        if progress is not None:
            progress(done, len(groups))


def _units(store: AuditStore) -> list[Unit]:
    """Give all units by stream and day, in the order in which their rows came."""
    units: dict[tuple[int, str], Unit] = {}
    for commit, file, origin, _ in store.files():
        day = partition_of(file.path)
        units.setdefault((commit.number, day), Unit(commit, day, origin)).files.append(file)
    return sorted(units.values(), key=lambda unit: (*unit.series[:3], unit.origin))


def _merge(store: AuditStore, group: list[Unit]) -> Commit:
    tables: dict[str, list[FileEntry]] = defaultdict(list)
    for unit in group:
        for file in unit.files:
            tables[file.table].append(file)
    drafts = [_draft(store, name, group[0].day, files) for name, files in tables.items()]
    gone = tuple(file for files in tables.values() for file in files)
    first, last = group[0].commit, group[-1].commit
    fields: dict[str, Any] = {"epoch": last.epoch, "project": first.project}
    fields |= {"kind": "compact", "gone": gone, "reason": "small files"}
    return store.write(first.stream, (first.first, last.last), drafts, **fields)


def _draft(store: AuditStore, name: str, day: str, files: list[FileEntry]) -> Draft:
    table = TABLES[name]
    leaves: list[bytes] = []
    parts = []
    for file in files:
        rows = _load(store, file)
        if file.root:
            own = leaves_of(table, {column: rows[column].combine_chunks() for column in rows.column_names})
            if evidence.root(own).hex() != file.root:
                raise AuditError(f"{file.path} is not as it was signed; run `mixer audit verify`")
            leaves += own
        parts.append(rows)
    merged = pa.concat_tables(parts)
    if table.order:
        merged = in_order(merged, table.order, "ts")
    return Draft(table, day, merged, b"".join(leaves), tuple((file.path, file.rows) for file in files))


def _load(store: AuditStore, file: FileEntry) -> pa.Table:
    data = store.read(file.path)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise AuditError(f"{file.path} is not as it was signed; run `mixer audit verify`")
    schema = columns_of(TABLES[file.table], file.columns)
    return pq.ParquetFile(pa.BufferReader(data)).read().select(schema.names).cast(schema).combine_chunks()
