"""Follow the audit store: each message as its commit is made."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxrig.errors import AuditError
from mixer.audit.manifest import FileEntry, chained
from mixer.audit.source import Place, Source, source
from mixer.audit.state import load
from mixer.audit.tables import MESSAGES

_COLUMNS: Final = ("received", "ts", "rack", "gear", "uns", "schema", "id", "data", "meta")
_POLL_S: Final = 0.2

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages to show; an empty field shows all."""

    uns: str = ""
    """A UNS path: of this asset, and of those below it."""
    rack: str = ""
    schema: str = ""

    def mask(self, table: pa.Table) -> pa.ChunkedArray | None:
        """Give which rows are wanted; None: all."""
        masks = [
            pc.equal(table[name], wanted) for name in ("rack", "schema") if (wanted := getattr(self, name))
        ]
        if self.uns:
            uns = table["uns"]
            below = pc.starts_with(uns, f"{self.uns}/")
            masks.append(pc.or_(pc.equal(uns, self.uns), below))
        if not masks:
            return None
        mask = masks[0]
        for other in masks[1:]:
            mask = pc.and_(mask, other)
        return mask


def tail(place: Place, wanted: Filter, last: int, is_over: Callable[[], bool]) -> Iterator[Row]:
    """Give the `last` messages, then each new one, until `is_over`. Times are RFC 3339 text in UTC."""
    store = source(place)
    if not store.exists():
        raise AuditError(f"there is no audit store at {store}; start `mixer up`, or give its --data folder")
    with store.reading():
        state = load(store)
        yield from _last(store, [live.file for live in state.files.values()], wanted, last)
    while not is_over():
        is_idle = True
        with store.reading():
            for commit, line in chained(store.lines(state), store.manifest, state.number, state.digest):
                is_idle = False
                state.take(commit, line)
                if commit.kind == "commit":
                    for file in commit.files:
                        yield from _rows(store, file, wanted)
        if is_idle:
            time.sleep(_POLL_S)


def _last(store: Source, files: list[FileEntry], wanted: Filter, last: int) -> Iterator[Row]:
    """Give the last rows, reading from the newest file back."""
    found: deque[Row] = deque()
    for file in reversed(files):
        if len(found) >= last:
            break
        found.extendleft(reversed([*_rows(store, file, wanted)][-(last - len(found)) :]))
    yield from found


def _rows(store: Source, file: FileEntry, wanted: Filter) -> Iterator[Row]:
    if file.table != MESSAGES.name:
        return
    table = pq.ParquetFile(pa.BufferReader(store.read(file.path))).read([*_COLUMNS])
    if (mask := wanted.mask(table)) is not None:
        table = table.filter(mask)
    for name in ("received", "ts"):
        texts = pc.replace_substring(table[name].cast(pa.string()), " ", "T")
        table = table.set_column(table.schema.get_field_index(name), name, texts)
    yield from table.to_pylist()
