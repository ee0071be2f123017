"""An audit store in a folder, as readers see it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mixer.audit.layout import STAGED
from mixer.audit.manifest import HEAD, NAME, FileEntry, digest
from mixer.audit.state import CHECKPOINT, State
from mixer.audit.tables import TABLES, Table, hive
from mixer.audit.views import parquet


class Local:
    """A folder. What is committed is read from its place, or, before it is moved there, from `.staged`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = str(folder / NAME)

    def __str__(self) -> str:
        return str(self.folder)

    def exists(self) -> bool:
        return (self.folder / NAME).is_file()

    def checkpoint(self) -> bytes | None:
        return self._small(CHECKPOINT)

    def head(self) -> bytes | None:
        return self._small(HEAD)

    def _small(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def follows(self, state: State) -> bool:
        if not state.offset:
            return False
        try:
            with (self.folder / NAME).open("rb") as file:
                file.seek(state.offset - state.last_bytes)
                return digest(file.read(state.last_bytes)) == state.digest
        except (OSError, ValueError):
            return False

    def lines(self, state: State | None = None) -> Iterator[bytes]:
        try:
            file = (self.folder / NAME).open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(state.offset if state else 0)
            yield from file

    def path(self, path: str) -> Path:
        """Give where a file of the store is now."""
        place = self.folder / path
        return place if place.exists() else self.folder / STAGED / path

    def read(self, path: str) -> bytes:
        return self.path(path).read_bytes()

    def paths(self) -> Iterator[str]:
        for table in TABLES:
            for path in sorted((self.folder / table).rglob("*.parquet")):
                yield path.relative_to(self.folder).as_posix()

    def awaits(self, path: str, state: State) -> bool:
        return False  # files are moved to their places when their line is there

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def scan(
        self,
        db: duckdb.DuckDBPyConnection,
        table: Table,
        files: Sequence[FileEntry],
        scratch: Path,
        *,
        hours: bool,
    ) -> str:
        """Have DuckDB read the files itself.

        Where some were written before the table had all its columns, DuckDB takes the columns by name from
        the footers of all, and one file without rows has them whole.
        """
        if not files:
            name = f"stored_{table.name}"
            db.register(name, pa.schema([*table.schema, *hive(hours=hours)]).empty_table())
            return name
        is_uneven = any(file.columns != len(table.schema) for file in files)
        here = Local(self.folder.resolve())
        paths = [here.path(file.path) for file in files]
        if is_uneven:
            paths.append(_empty(table, scratch.resolve(), hours=hours))
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        return parquet(f"[{listed}]", hours=hours, by_name=is_uneven)


def _empty(table: Table, scratch: Path, *, hours: bool) -> Path:
    """Write a file without rows, in partitions like those of the others."""
    folder = scratch / table.name / "project=default" / "date=1970-01-01"
    if hours:
        folder /= "hour=0"
    folder.mkdir(parents=True)
    pq.write_table(table.schema.empty_table(), folder / "empty.parquet")
    return folder / "empty.parquet"
