"""An audit store whose home is a bucket: commits are made here, in a folder, and shipped there in order.

A commit is one here as soon as it would be in a folder of its own, so that writing goes on while the bucket
is away. Shipping uploads the files of some lines and then these lines as one object, which is created only
where none is: so two Mixers can't both go on from one line, whatever each of them believes. Names of files
have their digest in them, so uploading again changes nothing. What is shipped is removed here.

The hub and the leaves forget only what is shipped (`safe`). So a spool that is lost, or that another Mixer
went past, loses no message: they are read from the hub again.
"""

from __future__ import annotations

import copy
import errno
import json
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fluxrig.errors import AuditError
from fluxrig.evidence import SigningKey
from mixer.audit import views
from mixer.audit.bucket import Bucket, segment_path
from mixer.audit.disk import Disk
from mixer.audit.layout import leaves_path
from mixer.audit.lease import Fenced
from mixer.audit.manifest import DEFAULT_PROJECT, HEAD, Commit, FileEntry, Head, chained, digest, parse
from mixer.audit.objects import Objects
from mixer.audit.state import CHECKPOINT, Progress, State, load
from mixer.audit.store import AuditStore, Draft, is_due

SPOOL_BYTES: Final = 4 << 30
_AT_ONCE: Final = 64
"""Lines in one object, unless more have to go together."""
_UPLOADS: Final = 8

_log = logging.getLogger("fluxrig.audit")


class Spool(AuditStore):
    """The writer of a bucket. `ship` is called by one thread at a time; the other calls by any."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        limit_bytes: int = SPOOL_BYTES,
        disk: Disk | None = None,
        key: SigningKey | None = None,
    ) -> None:
        """Raises AuditError when the URL can't be, or the bucket is away: where to go on is said there."""
        self.bucket = Bucket(url)
        self.limit_bytes = limit_bytes
        self.spooled_bytes = 0
        self._objects = Objects(self.bucket.address)
        self._queue: deque[tuple[Commit, bytes]] = deque()
        """What is committed here and not shipped."""
        self._shipped = State()
        self._marked = self._checked = 0
        """The line of the head and of the checkpoint that the bucket has."""
        self._viewed_there: dict[str, bool] = {}
        super().__init__(folder, disk, key)

    def safe(self, stream: str, project: str = DEFAULT_PROJECT) -> Progress:
        return self._shipped.progress(project, stream)

    def read(self, path: str) -> bytes:
        with suppress(FileNotFoundError):
            return self._source.read(path)
        return self.bucket.read(path)

    def write(self, stream: str, seqs: tuple[int, int], drafts: Sequence[Draft], **fields: Any) -> Commit:
        if self.spooled_bytes >= self.limit_bytes:
            full = f"the spool is full, with {self.spooled_bytes >> 20} MiB that {self.bucket} has not taken"
            raise OSError(errno.ENOSPC, full)
        return super().write(stream, seqs, drafts, **fields)

    def ship(self) -> bool:
        """Ship the oldest lines; False when nothing is left to ship.

        Raises OSError when the bucket is away, Fenced when another Mixer went on from a line of ours.
        """
        with self._lock:
            batch = self._batch()
        if batch:
            self._upload(batch)
            self._create(batch)
            with self._lock:
                for commit, line in batch:
                    self._leave(commit, line)
                self._cut()
        self._follow_up()
        return bool(self._queue)

    def _batch(self) -> list[tuple[Commit, bytes]]:
        """Give the first lines, as many as have to go together: what one brings another may take away."""
        taken = {file.path: place for place, (commit, _) in enumerate(self._queue, 1) for file in commit.gone}
        end, batch = _AT_ONCE, []
        for place, (commit, line) in enumerate(self._queue):
            if place == end:
                break
            batch.append((commit, line))
            end = max(end, *(taken.get(file.path, 0) for file in commit.files), 0)
        return batch

    def _upload(self, batch: list[tuple[Commit, bytes]]) -> None:
        gone = {file.path for commit, _ in batch for file in commit.gone}
        files = [file for commit, _ in batch for file in commit.files if file.path not in gone]
        with ThreadPoolExecutor(_UPLOADS, "upload") as pool:
            for _ in pool.map(self._upload_file, files):
                pass

    def _upload_file(self, file: FileEntry) -> None:
        self._objects.put(file.path, self._source.read(file.path))
        if file.leaves:
            beside = leaves_path(file.path)
            self._objects.put(beside, self._source.read(beside))

    def _create(self, batch: list[tuple[Commit, bytes]]) -> None:
        """Put the lines where none are; this is the commit there."""
        data = b"".join(line for _, line in batch)
        path = segment_path(batch[0][0].number)
        if self._objects.create(path, data) is None:
            found = self._objects.get(path)
            if found is None or found.data != data:
                raise Fenced(f"{self.bucket}/{path} was written by another Mixer; this one gives way")

    def _leave(self, commit: Commit, line: bytes) -> None:
        """Take leave of a line that is shipped."""
        self._queue.popleft()
        self._shipped.take(commit, line)
        self.spooled_bytes -= _size(commit)
        for file in commit.files:
            with suppress(OSError):  # what stays is removed at the next start
                self._remove(file.path)

    def _cut(self) -> None:
        """Begin the manifest here anew when all of it is shipped."""
        if not self._queue and not self._under_way:
            with suppress(OSError):
                self._disk.append(self._manifest, 0, b"")
                self.state.offset = 0

    def _follow_up(self) -> None:
        """Keep head, checkpoint and views of the bucket up, and remove what has been gone for long enough."""
        state = self._shipped
        if self._marked != state.number:
            self._objects.put(HEAD, Head(state.number, state.digest).file(self.key))
            self._marked = state.number
        self._remove_gone()
        tables = {live.file.table: "/hour=" in path for path, live in state.files.items()}
        if tables != self._viewed_there:
            self._objects.put(views.NAME, views.script(tables, f"{self.bucket}/").encode())
            self._viewed_there = tables
        if is_due(state, self._checked):
            self._objects.put(CHECKPOINT, state.checkpoint(self.key))
            self._checked = state.number

    def _remove_gone(self) -> None:
        """Remove what compaction or retention took away: who reads the bare bucket would see it twice."""
        if gone := [*self._shipped.gone]:
            self._objects.delete([*gone, *map(leaves_path, gone)])
            self._shipped.gone.clear()

    def clean(self) -> None:
        """Remove what was uploaded and never committed. For who holds the lease, before the first `ship`."""
        known = self.state.files.keys() | self._shipped.gone.keys()
        if strangers := [path for path in self.bucket.paths() if path not in known]:
            _log.warning("%d files of commits that were never shipped are removed", len(strangers))
            self._objects.delete([*strangers, *map(leaves_path, strangers)])

    def _take(self, commit: Commit, line: bytes) -> None:
        super()._take(commit, line)
        self._enqueue(commit, line)

    def _settle(self) -> None:
        """Nothing is moved here: files wait where they are until they are shipped."""
        self._retired.clear()
        self._swapped.clear()

    def _load(self) -> State:
        """Go on from what the bucket has, and behind that with what waits here, if it follows.

        It does not when another Mixer wrote to the bucket, or when this folder is new.
        """
        self._shipped = load(self.bucket, self._is_own)
        self._marked = self._shipped.number
        state = copy.deepcopy(self._shipped)
        state.offset = 0
        lines = [*self._waiting()]
        before = lines[0][0].number - 1 if lines else state.number
        if before > state.number:
            raise AuditError(
                f"{self.bucket} ends at line {state.number}, but line {before} was shipped to it: "
                "lines were removed there; restore them"
            )
        digests = {commit.number: digest(line) for commit, line in lines}
        if lines and state.number != before and digests.get(state.number) != state.digest:
            return self._give_up(state, len(lines))
        for commit, line in lines:
            if commit.number <= state.number:
                state.offset += len(line)
            else:
                state.take(commit, line)
                self._enqueue(commit, line)
        return state

    def _waiting(self) -> Iterator[tuple[Commit, bytes]]:
        """Give the lines that are here, whichever number they begin with."""
        first = next(self._source.lines(), b"")
        if not first.endswith(b"\n"):
            return
        commit, previous = parse(first), str(json.loads(first)["previous"])
        yield from chained(self._source.lines(), self._manifest, commit.number - 1, previous)

    def _give_up(self, state: State, lines: int) -> State:
        _log.warning(
            "%s was written by another Mixer meanwhile: %d commits that waited here are dropped, "
            "and their messages read from the hub again",
            self.bucket,
            lines,
        )
        return state

    def _check_head(self) -> None:
        """The bucket knows how far it goes; what is missing here is read from the hub again."""

    def _enqueue(self, commit: Commit, line: bytes) -> None:
        self._queue.append((commit, line))
        self.spooled_bytes += _size(commit)


def _size(commit: Commit) -> int:
    return sum(file.bytes for file in commit.files)
