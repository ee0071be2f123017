"""Follow the audit store: each message as its commit is made."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mixer.audit.manifest import NAME, FileEntry, live, parse, read
from mixer.audit.query import reading
from mixer.audit.store import staged
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


def tail(folder: Path, wanted: Filter, last: int, is_over: Callable[[], bool]) -> Iterator[Row]:
    """Give the `last` messages, then each new one, until `is_over`. Times are RFC 3339 text in UTC."""
    manifest = folder / NAME
    offset = 0
    with reading(folder):
        commits = []
        for commit, line in read(manifest):
            commits.append(commit)
            offset += len(line)
        yield from _last(folder, [file for _, file in live(commits).values()], wanted, last)
    while not is_over():
        lines, offset = _new_lines(manifest, offset)
        for line in lines:
            with reading(folder):
                commit = parse(line)
                if commit.kind == "commit":
                    for file in commit.files:
                        yield from _rows(folder, file, wanted)
        if not lines:
            time.sleep(_POLL_S)


def _last(folder: Path, files: list[FileEntry], wanted: Filter, last: int) -> Iterator[Row]:
    """Give the last rows, reading from the newest file back."""
    found: deque[Row] = deque()
    for file in reversed(files):
        if len(found) >= last:
            break
        found.extendleft(reversed([*_rows(folder, file, wanted)][-(last - len(found)) :]))
    yield from found


def _new_lines(manifest: Path, offset: int) -> tuple[list[bytes], int]:
    """Give the whole lines behind `offset`, and where they end."""
    if not manifest.exists():
        return [], offset
    with manifest.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return whole.splitlines(), offset + len(whole)


def _rows(folder: Path, file: FileEntry, wanted: Filter) -> Iterator[Row]:
    if file.table != MESSAGES.name:
        return
    place = folder / file.path
    table = pq.ParquetFile(place if place.exists() else staged(folder, file.path)).read([*_COLUMNS])
    if (mask := wanted.mask(table)) is not None:
        table = table.filter(mask)
    for name in ("received", "ts"):
        texts = pc.replace_substring(table[name].cast(pa.string()), " ", "T")
        table = table.set_column(table.schema.get_field_index(name), name, texts)
    yield from table.to_pylist()
