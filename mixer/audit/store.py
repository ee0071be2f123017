"""The folder of Parquet files, and how a commit becomes part of it.

    audit/manifest.jsonl                                      what is committed
    audit/.staged/messages/…                                  what is not in its place yet
    audit/messages/project=default/date=2026-11-21/*.parquet  what any reader finds

A commit writes its files under `.staged`, syncs them, appends its line to the manifest, syncs that, and only
then moves the files to their places. So a reader of the bare folder never sees a file that is half written or
not committed, and a process that ends at any moment leaves a folder that `AuditStore` can finish or undo.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.audit.disk import Disk
from mixer.audit.manifest import GENESIS, NAME, Commit, FileEntry, digest, read
from mixer.audit.origin import Marks
from mixer.audit.tables import TABLES, Table
from mixer.audit.tabulate import Tabulated

PROJECT: Final = "default"
STAGED: Final = ".staged"
_ROW_GROUP: Final = 1 << 17


@dataclass(slots=True)
class Progress:
    """How far one stream is committed."""

    epoch: str = ""
    last: int = 0
    marks: Marks = field(default_factory=Marks)
    files: int = 0
    bytes: int = 0
    rows: Counter[str] = field(default_factory=Counter)

    def add(self, commit: Commit) -> None:
        self.epoch, self.last = commit.epoch, commit.last
        self.marks |= commit.marks
        self.files += len(commit.files)
        self.bytes += sum(file.bytes for file in commit.files)
        self.rows.update({file.table: file.rows for file in commit.files})


class AuditStore:
    """The one writer of an audit folder. Its calls may come from several threads."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        """Open a folder, made if need be, and bring it to exactly what is committed.

        Raises AuditError when the manifest was changed.
        """
        self.folder = folder
        self._disk = disk or Disk()
        self._lock = threading.Lock()
        self._staged = folder / STAGED
        self._manifest = folder / NAME
        self._streams: dict[str, Progress] = {}
        self._number, self._length, self._head = 0, 0, GENESIS
        self._unplaced: set[str] = set()
        self._under_way = False
        self._recover()

    def progress(self, stream: str) -> Progress:
        """Give how far a stream is committed; it moves on with each commit."""
        return self._streams.setdefault(stream, Progress())

    def commit(self, stream: str, epoch: str, run: Tabulated) -> Commit:
        """Make a run of messages part of the store, wholly or not at all.

        Raises OSError when the disk refuses; the same run may then be offered again.
        """
        with self._lock:
            self._undo()
            self._under_way = True
            try:
                commit, line = self._write(stream, epoch, run)
            except BaseException:
                with suppress(OSError):
                    self._undo()
                raise
            self._under_way = False
            self._take(commit, line)
            self._unplaced.update(file.path for file in commit.files)
            self._place()
            return commit

    def _write(self, stream: str, epoch: str, run: Tabulated) -> tuple[Commit, bytes]:
        """Write the files, then the line that makes them count."""
        places = run.batches.items()
        files = tuple(self._stage(TABLES[name], day, stream, run, batches) for (name, day), batches in places)
        for folder in {staged(self.folder, file.path).parent for file in files}:
            self._disk.sync_folder(folder)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        commit = Commit(self._number + 1, stream, epoch, run.first, run.last, at, files, run.marks)
        line = commit.line(self._head)
        self._disk.append(self._manifest, self._length, line)
        return commit, line

    def _undo(self) -> None:
        """Take back a commit that failed: its line first, or a crash would leave a line without its files."""
        if self._under_way:
            self._disk.append(self._manifest, self._length, b"")
            self._clear_staged()
            self._under_way = False

    def _clear_staged(self) -> None:
        for path in self._staged.rglob("*.parquet"):
            if path.relative_to(self._staged).as_posix() not in self._unplaced:
                self._disk.remove(path)

    def _stage(
        self, table: Table, day: str, stream: str, run: Tabulated, batches: list[pa.RecordBatch]
    ) -> FileEntry:
        """Write one file beside its place, and make the folder of its place."""
        name = f"{self._number + 1:010d}-{stream}-{run.first}-{run.last}.parquet"
        path = f"{table.name}/project={PROJECT}/date={day}/{name}"
        data = encode(table, batches)
        self._disk.make_folder((self.folder / path).parent)
        self._disk.make_folder(staged(self.folder, path).parent)
        self._disk.write(staged(self.folder, path), data)
        rows = sum(batch.num_rows for batch in batches)
        return FileEntry(path, table.name, rows, data.size, hashlib.sha256(data).hexdigest())

    def _place(self) -> None:
        """Move committed files to their places. What fails here is done with the next commit or start."""
        for path in sorted(self._unplaced):
            waiting, place = staged(self.folder, path), self.folder / path
            with suppress(OSError):
                self._disk.make_folder(place.parent)
                if waiting.exists():  # not so when it was moved, and only the folder could not be synced
                    self._disk.rename(waiting, place)
                self._disk.sync_folder(place.parent)
                self._unplaced.discard(path)

    def _take(self, commit: Commit, line: bytes) -> None:
        self._number, self._head = commit.number, digest(line)
        self._length += len(line)
        self.progress(commit.stream).add(commit)

    def _recover(self) -> None:
        """Finish the commit that was under way when the last writer ended, or undo it."""
        self._disk.make_folder(self._staged)
        left = {path.relative_to(self._staged).as_posix() for path in self._staged.rglob("*.parquet")}
        for commit, line in read(self._manifest):
            self._take(commit, line)
            self._unplaced |= {file.path for file in commit.files if file.path in left}
        self._disk.append(self._manifest, self._length, b"")
        self._clear_staged()
        self._disk.sync_folder(self.folder)
        self._place()


def encode(table: Table, batches: list[pa.RecordBatch]) -> pa.Buffer:
    """Give the Parquet file of some batches."""
    sink = pa.BufferOutputStream()
    described = [name for name in table.schema.names if name not in table.bulk]
    pq.write_table(
        pa.Table.from_batches(batches, table.schema),
        sink,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        use_dictionary=list(table.repeating),
        write_statistics=described,
        write_page_checksum=True,
    )
    return sink.getvalue()


def staged(folder: Path, path: str) -> Path:
    """Give where the file at `path` waits until it is committed and placed: in folders of the same names."""
    return folder / STAGED / path
