"""The folder of Parquet files, and how a commit becomes part of it.

    audit/manifest.jsonl                                      what is committed, signed
    audit/head.json                                           how far the manifest goes, signed
    audit/views.sql                                           the tables, for plain DuckDB
    audit/evidence/*.leaves                                   by which a changed row is found
    audit/.staged/messages/…                                  what is not in its place yet
    audit/messages/project=default/date=2026-11-21/*.parquet  what any reader finds

A commit writes its files under `.staged`, syncs them, appends its line to the manifest, syncs that, and only
then moves the files to their places. So a reader of the bare folder never sees a file that is half written or
not committed, and a process that ends at any moment leaves a folder that `AuditStore` can finish or undo.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from fluxrig import evidence
from fluxrig.errors import AuditError
from fluxrig.evidence import SigningKey
from mixer.audit import views
from mixer.audit.disk import Disk
from mixer.audit.entries import SIZE
from mixer.audit.manifest import GENESIS, HEAD, NAME, Commit, FileEntry, Head, digest, live, read, read_head
from mixer.audit.origin import Marks
from mixer.audit.parquet import arrange, encode
from mixer.audit.tables import TABLES, Table
from mixer.audit.tabulate import Tabulated

PROJECT: Final = "default"
STAGED: Final = ".staged"
EVIDENCE: Final = "evidence"
LEAF_START: Final = 8
"""Bytes of each leaf hash that are kept to find a row by; what proves it is the root."""

_log = logging.getLogger("fluxrig.audit")


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
        if commit.kind == "commit":
            self.epoch, self.last = commit.epoch, commit.last
            self.marks |= commit.marks
        for files, sign in ((commit.files, 1), (commit.gone, -1)):
            self.files += sign * len(files)
            for file in files:
                self.bytes += sign * file.bytes
                self.rows[file.table] += sign * file.rows


class Draft(NamedTuple):
    """A file to be written: its rows as they will be there, and their leaf hashes, 32 bytes each."""

    table: Table
    day: str
    rows: pa.Table
    leaves: bytes = b""
    parts: tuple[tuple[str, int], ...] = ()


class AuditStore:
    """The one writer of an audit folder. Its calls may come from several threads."""

    def __init__(self, folder: Path, disk: Disk | None = None, key: SigningKey | None = None) -> None:
        """Open a folder, made if need be, and bring it to exactly what is committed.

        Without a `key` it signs with the one in the folder above, made at the first time.
        Raises AuditError when the manifest was changed or cut.
        """
        self.folder = folder
        self._key = key or SigningKey.of(folder.parent)
        self._disk = disk or Disk()
        self._lock = threading.Lock()
        self._staged = folder / STAGED
        self._manifest = folder / NAME
        self._streams: dict[str, Progress] = {}
        self._number, self._length, self._head = 0, 0, GENESIS
        self._unplaced: set[str] = set()
        self._retired: set[str] = set()
        """Files that compaction or retention took away and that are still there."""
        self._swapped: set[str] = set()
        """Files that take the place of some of those, and are placed when those can be removed."""
        self._under_way = False
        self._viewed: set[str] | None = None
        self._recover()

    def progress(self, stream: str) -> Progress:
        """Give how far a stream is committed; it moves on with each commit."""
        return self._streams.setdefault(stream, Progress())

    def commit(self, stream: str, epoch: str, run: Tabulated) -> Commit:
        """Make a run of messages part of the store, wholly or not at all.

        Raises OSError when the disk refuses; the same run may then be offered again.
        """
        drafts = [
            Draft(TABLES[name], day, arrange(TABLES[name], batches), bytes(run.leaves[name, day]))
            for (name, day), batches in run.batches.items()
        ]
        return self.write(stream, (run.first, run.last), drafts, epoch=epoch, marks=run.marks)

    def write(self, stream: str, seqs: tuple[int, int], drafts: Sequence[Draft], **fields: Any) -> Commit:
        """Write one line and the files it brings; `fields` are the others of `Commit`."""
        with self._lock:
            self._undo()
            self._under_way = True
            try:
                commit, line = self._write(stream, seqs, drafts, fields)
            except BaseException:
                with suppress(OSError):
                    self._undo()
                raise
            self._under_way = False
            self._take(commit, line)
            self._unplaced.update(file.path for file in commit.files)
            if commit.gone:
                self._retired.update(file.path for file in commit.gone)
                self._swapped.update(file.path for file in commit.files)
            self._settle()
            return commit

    def _write(
        self, stream: str, seqs: tuple[int, int], drafts: Sequence[Draft], fields: dict[str, Any]
    ) -> tuple[Commit, bytes]:
        """Write the files, then the line that makes them count."""
        name = f"{self._number + 1:010d}-{stream}-{seqs[0]}-{seqs[1]}"
        files = tuple(self._stage(draft, name) for draft in drafts)
        for folder in {staged(self.folder, file.path).parent for file in files}:
            self._disk.sync_folder(folder)
        if any(file.leaves for file in files):
            self._disk.sync_folder(self.folder / EVIDENCE)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        commit = Commit(self._number + 1, stream, first=seqs[0], last=seqs[1], at=at, files=files, **fields)
        line = commit.line(self._head, self._key)
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

    def _stage(self, draft: Draft, name: str) -> FileEntry:
        """Write one file beside its place, and make the folder of its place."""
        table = draft.table.name
        path = f"{table}/project={PROJECT}/date={draft.day}/{name}.parquet"
        data = encode(draft.table, draft.rows)
        self._disk.make_folder((self.folder / path).parent)
        self._disk.make_folder(staged(self.folder, path).parent)
        self._disk.write(staged(self.folder, path), data)
        root, leaves = self._prove(path, draft.leaves)
        found = hashlib.sha256(data).hexdigest()
        return FileEntry(path, table, draft.rows.num_rows, data.size, found, root, leaves, draft.parts)

    def _prove(self, path: str, leaves: bytes) -> tuple[str, str]:
        """Give the root over the rows of a file, and the digest of the leaf hashes kept beside it."""
        if not leaves:
            return "", ""
        hashes = [leaves[at : at + SIZE] for at in range(0, len(leaves), SIZE)]
        starts = b"".join([one[:LEAF_START] for one in hashes])
        self._disk.make_folder(self.folder / EVIDENCE)
        self._disk.write(leaves_path(self.folder, path), starts)
        return evidence.root(hashes).hex(), hashlib.sha256(starts).hexdigest()

    def _settle(self) -> None:
        """Do what a commit leaves to be done. What fails here is done with the next commit or start."""
        self._place(self._unplaced - self._swapped - self._retired)
        self._retire()
        self._write_head()
        self._write_views()

    def _write_views(self) -> None:
        """Keep `views.sql` to the tables that have files in their places."""
        tables = {name for name in TABLES if any((self.folder / name).glob("*/*/*.parquet"))}
        if tables == self._viewed:
            return
        draft = self._staged / views.NAME
        with suppress(OSError):
            self._disk.write(draft, views.script(tables).encode())
            self._disk.rename(draft, self.folder / views.NAME)
            self._viewed = tables

    def _write_head(self) -> None:
        """Say how far the manifest goes, in one step, so that the file is never half there."""
        draft = self._staged / HEAD
        with suppress(OSError):
            self._disk.write(draft, Head(self._number, self._head).file(self._key))
            self._disk.rename(draft, self.folder / HEAD)
            self._disk.sync_folder(self.folder)

    def _retire(self) -> None:
        """Remove what compaction or retention took away, while no query reads."""
        if not self._retired and not self._swapped:
            return
        with suppress(OSError), _no_reader(self._manifest):
            self._place(self._swapped & self._unplaced)
            for path in sorted(self._retired):
                self._disk.remove(staged(self.folder, path))
                self._disk.remove(self.folder / path)
                self._disk.remove(leaves_path(self.folder, path))
                self._retired.discard(path)
                self._unplaced.discard(path)
            self._swapped &= self._unplaced

    def _place(self, paths: Set[str]) -> None:
        """Move committed files to their places."""
        for path in sorted(paths):
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
        head, seen = read_head(self.folder), GENESIS
        commits = []
        for commit, line in read(self._manifest):
            self._take(commit, line)
            commits.append(commit)
            if head and commit.number == head[0].number:
                seen = self._head
        if head and head[0].number and head[0].digest != seen:
            raise AuditError(
                f"{self._manifest} ends before line {head[0].number}, which {HEAD} knows of: "
                "its end was cut off; restore it from a backup of the audit folder"
            )
        if commits and not head:
            _log.error("%s is missing: whether the end of the manifest was cut off can't be told", HEAD)
        files = live(commits)
        self._unplaced = left & files.keys()
        self._swapped = {path for path in self._unplaced if files[path][0].gone}
        self._disk.append(self._manifest, self._length, b"")
        self._clear_staged()
        self._clear_evidence(files)
        self._retired = {
            file.path for commit in commits for file in commit.gone if (self.folder / file.path).exists()
        }
        self._disk.sync_folder(self.folder)
        self._settle()

    def _clear_evidence(self, files: Iterable[str]) -> None:
        known = {leaves_path(self.folder, path) for path in files}
        for path in (self.folder / EVIDENCE).glob("*.leaves"):
            if path not in known:
                self._disk.remove(path)


def leaves_path(folder: Path, path: str) -> Path:
    """Give where the starts of the leaf hashes of the file at `path` are."""
    return (
        folder
        / EVIDENCE
        / f"{path.partition('/')[0]}-{path.rpartition('date=')[2].replace('/', '-')}".replace(
            ".parquet", ".leaves"
        )
    )


@contextmanager
def _no_reader(manifest: Path) -> Iterator[None]:
    """Hold off new queries; BlockingIOError while one is at work."""
    descriptor = os.open(manifest, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def staged(folder: Path, path: str) -> Path:
    """Give where the file at `path` waits until it is committed and placed: in folders of the same names."""
    return folder / STAGED / path
