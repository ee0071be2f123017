"""Follow the audit store: each message as its commit is made."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxrig.bus import Stored
from fluxrig.errors import AuditError
from fluxrig.message import FluxMsg
from mixer.audit.manifest import FileEntry, chained
from mixer.audit.source import Place, Source, source
from mixer.audit.state import State, load
from mixer.audit.tables import MESSAGES
from mixer.audit.values import json_text, rfc3339

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
    project: str = ""

    def takes(self, row: Row) -> bool:
        """Tell whether a row is wanted."""
        return (
            self.rack in ("", row["rack"])
            and self.schema in ("", row["schema"])
            and (not self.uns or f"{row['uns']}/".startswith(f"{self.uns}/"))
        )

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


def row_of(stored: Stored, message: FluxMsg) -> Row:
    """Give the row that a message on the hub's stream will have, as far as `tail` shows it."""
    rack, _, gear = message.src.partition("/")
    return {
        "received": rfc3339(stored.time_ns),
        "ts": rfc3339(message.ts),
        "rack": rack,
        "gear": gear or None,
        "uns": message.uns,
        "schema": message.schema,
        "id": str(UUID(bytes=message.id)),
        "data": json_text(dict(message.data)) if message.data else None,
        "meta": json_text(dict(message.meta)) if message.meta else None,
    }


def tail(place: Place, wanted: Filter, last: int, is_over: Callable[[], bool]) -> Iterator[Row]:
    """Give the `last` messages, then each new one, until `is_over`. Times are RFC 3339 text in UTC."""
    store = source(place)
    if not store.exists():
        raise AuditError(f"there is no audit store at {store}; start `mixer up`, or give its --data folder")
    with store.reading():
        state = load(store)
        yield from newest(store, state, wanted, last)
    while not is_over():
        is_idle = True
        with store.reading():
            for commit, line in chained(store.lines(state), store.manifest, state.number, state.digest):
                is_idle = False
                state.take(commit, line)
                if commit.kind == "commit" and wanted.project in ("", commit.project):
                    for file in commit.files:
                        yield from _rows(store, file, wanted)
        if is_idle:
            time.sleep(_POLL_S)


def newest(store: Source, state: State, wanted: Filter, last: int) -> Iterator[Row]:
    """Give the `last` rows of a state, reading from the newest file back."""
    found: deque[Row] = deque()
    for commit, file, _, _ in reversed(state.files.values()):
        if len(found) >= last:
            break
        if wanted.project not in ("", commit.project):
            continue
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
