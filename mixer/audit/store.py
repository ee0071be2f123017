"""The folder of Parquet files, and how a commit becomes part of it. See `layout` for what is where.

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
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from fluxrig import evidence
from fluxrig.errors import AuditError
from fluxrig.evidence import PublicKeys, SigningKey, unsigned
from mixer.audit import views
from mixer.audit.disk import Disk
from mixer.audit.entries import SIZE
from mixer.audit.layout import EVIDENCE, LEAF_START, STAGED, file_path, leaves_path, partition_of
from mixer.audit.local import Local
from mixer.audit.manifest import (
    DEFAULT_PROJECT,
    GENESIS,
    HEAD,
    NAME,
    Commit,
    FileEntry,
    Head,
    chained,
    digest,
)
from mixer.audit.parquet import arrange, encode
from mixer.audit.state import CHECKPOINT, Live, Progress, State, load
from mixer.audit.tables import TABLES, Table
from mixer.audit.tabulate import Tabulated

CHECKPOINT_EVERY: Final = 256
"""Lines. With many files it is a share of their number, so that checkpoints stay a small part of the work."""
_NAMED_BY: Final = 12
"""Digits of its SHA-256 in a file's name: what has the same name has the same bytes."""

_log = logging.getLogger("fluxrig.audit")


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
        self.key = key or SigningKey.of(folder.parent)
        self.state = State()
        self._disk = disk or Disk()
        self._lock = threading.Lock()
        self._staged = folder / STAGED
        self._manifest = folder / NAME
        self._source = Local(folder)
        self._checkpointed = 0
        """The line at which the last checkpoint was; one that was read counts when it is replaced."""
        self._unplaced: set[str] = set()
        self._retired: set[str] = set()
        """Files that compaction or retention took away and that are still there."""
        self._swapped: set[str] = set()
        """Files that take the place of some of those, and are placed when those can be removed."""
        self._under_way = False
        self._viewed: dict[str, bool] | None = None
        self._recover()

    def progress(self, stream: str, project: str = DEFAULT_PROJECT) -> Progress:
        """Give how far a stream is committed; it moves on with each commit."""
        return self.state.progress(project, stream)

    def safe(self, stream: str, project: str = DEFAULT_PROJECT) -> Progress:
        """Give how far a stream is where it is to stay: the hub and the leaves may forget that."""
        return self.progress(stream, project)

    def read(self, path: str) -> bytes:
        """Give a file of the store whole. Raises OSError."""
        return self._source.read(path)

    def files(self) -> list[Live]:
        """Give the files that are part of the store, in the order of their lines."""
        with self._lock:
            return list(self.state.files.values())

    def check_partition(self, *, hourly: bool) -> None:
        """Raise AuditError when the store's files are partitioned otherwise.

        No reader of hive partitions takes days with hours and days without in one table.
        """
        path = next(iter(self.state.files), None)
        if path is not None and hourly != ("T" in partition_of(path)):
            kind = "day" if hourly else "hour"
            raise AuditError(f"{self.folder} is partitioned by {kind}; start with --partition {kind}")

    def commit(self, stream: str, epoch: str, run: Tabulated, project: str = DEFAULT_PROJECT) -> Commit:
        """Make a run of messages part of the store, wholly or not at all.

        Raises OSError when the disk refuses; the same run may then be offered again.
        """
        drafts = [
            Draft(TABLES[name], day, arrange(TABLES[name], batches), bytes(run.leaves[name, day]))
            for (name, day), batches in run.batches.items()
        ]
        fields: dict[str, Any] = {"epoch": epoch, "marks": run.marks, "project": project}
        return self.write(stream, (run.first, run.last), drafts, **fields)

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
            self._settle()
            return commit

    def _take(self, commit: Commit, line: bytes) -> None:
        self.state.take(commit, line)
        self._unplaced.update(file.path for file in commit.files)
        if commit.gone:
            self._retired.update(file.path for file in commit.gone)
            self._swapped.update(file.path for file in commit.files)

    def _write(
        self, stream: str, seqs: tuple[int, int], drafts: Sequence[Draft], fields: dict[str, Any]
    ) -> tuple[Commit, bytes]:
        """Write the files, then the line that makes them count."""
        number = self.state.number + 1
        name = f"{number:010d}-{stream}-{seqs[0]}-{seqs[1]}"
        project = fields.setdefault("project", DEFAULT_PROJECT)
        files = tuple(self._stage(draft, project, name) for draft in drafts)
        for folder in {staged(self.folder, file.path).parent for file in files}:
            self._disk.sync_folder(folder)
        if any(file.leaves for file in files):
            self._disk.sync_folder(self.folder / EVIDENCE)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        commit = Commit(number, stream, first=seqs[0], last=seqs[1], at=at, files=files, **fields)
        line = commit.line(self.state.digest, self.key)
        self._disk.append(self._manifest, self.state.offset, line)
        return commit, line

    def _undo(self) -> None:
        """Take back a commit that failed: its line first, or a crash would leave a line without its files."""
        if self._under_way:
            self._disk.append(self._manifest, self.state.offset, b"")
            self._clear_staged()
            self._under_way = False

    def _clear_staged(self) -> None:
        for path in self._staged.rglob("*.parquet"):
            if path.relative_to(self._staged).as_posix() not in self._unplaced:
                self._disk.remove(path)

    def _stage(self, draft: Draft, project: str, name: str) -> FileEntry:
        """Write one file beside its place, and make the folder of its place."""
        table = draft.table.name
        data = encode(draft.table, draft.rows)
        found = hashlib.sha256(data).hexdigest()
        path = file_path(table, project, draft.day, f"{name}-{found[:_NAMED_BY]}")
        self._disk.make_folder((self.folder / path).parent)
        self._disk.make_folder(staged(self.folder, path).parent)
        self._disk.write(staged(self.folder, path), data)
        root, leaves = self._prove(path, draft.leaves)
        columns = draft.rows.num_columns
        return FileEntry(
            path, table, draft.rows.num_rows, data.size, found, root, leaves, draft.parts, columns
        )

    def _prove(self, path: str, leaves: bytes) -> tuple[str, str]:
        """Give the root over the rows of a file, and the digest of the leaf hashes kept beside it."""
        if not leaves:
            return "", ""
        hashes = [leaves[at : at + SIZE] for at in range(0, len(leaves), SIZE)]
        starts = b"".join([one[:LEAF_START] for one in hashes])
        self._disk.make_folder(self.folder / EVIDENCE)
        self._disk.write(self.folder / leaves_path(path), starts)
        return evidence.root(hashes).hex(), hashlib.sha256(starts).hexdigest()

    def _settle(self) -> None:
        """Do what a commit leaves to be done. What fails here is done with the next commit or start."""
        self._place(self._unplaced - self._swapped - self._retired)
        self._retire()
        self._replace(HEAD, Head(self.state.number, self.state.digest).file(self.key), sync=True)
        self._write_views()
        self._write_checkpoint()

    def _write_views(self) -> None:
        """Keep `views.sql` to the tables that have files in their places."""
        firsts = {name: next((self.folder / name).rglob("*.parquet"), None) for name in TABLES}
        tables = {name: "/hour=" in path.as_posix() for name, path in firsts.items() if path}
        if tables != self._viewed and self._replace(views.NAME, views.script(tables).encode()):
            self._viewed = tables

    def _write_checkpoint(self) -> None:
        """Say what the lines come to, every so many of them."""
        if not is_due(self.state, self._checkpointed):
            return
        kept = self._kept()
        self.state.gone = {path: at for path, at in self.state.gone.items() if path in kept}
        if self._replace(CHECKPOINT, self.state.checkpoint(self.key)):
            self._checkpointed = self.state.number

    def _kept(self) -> Set[str]:
        """Give the files that are gone from the store and still there."""
        return self._retired

    def _replace(self, name: str, data: bytes, *, sync: bool = False) -> bool:
        """Write a file in one step, so that it is never half there; tell whether that went well."""
        draft = self._staged / name
        try:
            self._disk.write(draft, data)
            self._disk.rename(draft, self.folder / name)
            if sync:
                self._disk.sync_folder(self.folder)
        except OSError:
            return False
        return True

    def _retire(self) -> None:
        """Remove what compaction or retention took away, while no query reads."""
        if not self._retired and not self._swapped:
            return
        with suppress(OSError), _no_reader(self._manifest):
            self._place(self._swapped & self._unplaced)
            for path in sorted(self._retired):
                self._remove(path)
                self._retired.discard(path)
            self._swapped &= self._unplaced

    def _remove(self, path: str) -> None:
        self._disk.remove(staged(self.folder, path))
        self._disk.remove(self.folder / path)
        self._disk.remove(self.folder / leaves_path(path))
        self._unplaced.discard(path)

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

    def _recover(self) -> None:
        """Finish the commit that was under way when the last writer ended, or undo it."""
        self._disk.make_folder(self._staged)
        left = {path.relative_to(self._staged).as_posix() for path in self._staged.rglob("*.parquet")}
        self.state = self._load()
        self._check_head()
        files = self.state.files
        self._unplaced = left & files.keys()
        self._swapped = {path for path in self._unplaced if files[path].commit.kind == "compact"}
        self._disk.append(self._manifest, self.state.offset, b"")
        self._clear_staged()
        self._clear_evidence(files)
        self._retired = {path for path in self.state.gone if (self.folder / path).exists()}
        self._disk.sync_folder(self.folder)
        self._settle()

    def _load(self) -> State:
        """Read the checkpoint, if it is our own, and the lines behind it."""
        return load(self._source, self._is_own)

    def _is_own(self, data: bytes) -> bool:
        try:
            signed, signature = unsigned(data)
        except ValueError:
            return False
        return PublicKeys([self.key.public]).checks(self.key.key_id, signature, signed)

    def _check_head(self) -> None:
        """Raise AuditError when the manifest is known to have been longer."""
        data = self._source.head()
        head = Head.parse(data) if data else None
        if head is None:
            if self.state.number:
                _log.error("%s is missing: whether the end of the manifest was cut off can't be told", HEAD)
            return
        if head.number > self.state.number or head.digest != self._digest_of(head.number):
            raise AuditError(
                f"{self._manifest} ends before line {head.number}, which {HEAD} knows of: "
                "its end was cut off; restore it from a backup of the audit folder"
            )

    def _digest_of(self, number: int) -> str:
        """Give the digest of a line, as the line behind it has it."""
        if number == self.state.number:
            return self.state.digest
        if number == 0:
            return GENESIS
        lines = chained(self._source.lines(), self._manifest)
        return next((digest(line) for commit, line in lines if commit.number == number), "")

    def _clear_evidence(self, files: Iterable[str]) -> None:
        known = {leaves_path(path) for path in files}
        for path in (self.folder / EVIDENCE).glob("*.leaves"):
            if path.relative_to(self.folder).as_posix() not in known:
                self._disk.remove(path)


def is_due(state: State, checkpointed: int) -> bool:
    """Tell whether it is time for a checkpoint, when the last one was at line `checkpointed`."""
    return state.number - checkpointed >= max(CHECKPOINT_EVERY, len(state.files) // 8)


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
