"""What the lines of a manifest come to: which files there are, and how far each stream is.

A checkpoint is this as a file, signed. Who reads a store starts from it and reads only the lines behind it,
so reading takes as long as there are files, however long the history is. It replaces no line: `verify` goes
through all of them and holds the checkpoint against what they come to.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fluxrig.evidence import SigningKey
from mixer.audit.manifest import GENESIS, Commit, FileEntry, chained, digest, entry, sign
from mixer.audit.origin import Marks

if TYPE_CHECKING:
    from mixer.audit.source import Source

CHECKPOINT: Final = "checkpoint.json"
_LABEL: Final = ("number", "project", "stream", "epoch", "first", "last", "at", "kind")


@dataclass(slots=True)
class Progress:
    """How far one stream of one project is committed."""

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
        for files, sign_ in ((commit.files, 1), (commit.gone, -1)):
            self.files += sign_ * len(files)
            for file in files:
                self.bytes += sign_ * file.bytes
                self.rows[file.table] += sign_ * file.rows

    def document(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {name: getattr(self, name) for name in ("epoch", "last", "marks", "files", "bytes", "rows")}


class Live(NamedTuple):
    """One file that is part of the store."""

    commit: Commit
    """The line that brought it, without its lists."""
    file: FileEntry
    """Its parts are in the line alone, once that is behind a checkpoint."""
    origin: int
    """The line that first brought the oldest of its rows."""
    merged: int
    """How many files were put together to make it."""


@dataclass(slots=True)
class State:
    """What the first `number` lines come to."""

    number: int = 0
    digest: str = GENESIS
    """Of the last of them."""
    offset: int = 0
    """Where they end in the file of the manifest; 0 when they are not in it (any more)."""
    last_bytes: int = 0
    """How long the last of them is."""
    files: dict[str, Live] = field(default_factory=dict)
    """By path, in the order of the lines."""
    streams: dict[tuple[str, str], Progress] = field(default_factory=dict)
    """By project and stream."""
    gone: dict[str, str] = field(default_factory=dict)
    """Files taken away that may still be there, and when that was."""
    lines: Counter[str] = field(default_factory=Counter)
    pruned: Counter[str] = field(default_factory=Counter)

    def take(self, commit: Commit, line: bytes) -> None:
        """Go on by one line."""
        self.number, self.digest = commit.number, digest(line)
        self.offset, self.last_bytes = self.offset + len(line), len(line)
        self.lines[commit.kind] += 1
        origins = {file.path: self._remove(file, commit) for file in commit.gone}
        label = replace(commit, files=(), gone=(), marks={})
        for file in commit.files:
            origin = min((origins.get(part, commit.number) for part, _ in file.parts), default=commit.number)
            self.files[file.path] = Live(label, file, origin, len(file.parts))
        self.progress(commit.project, commit.stream).add(commit)

    def _remove(self, file: FileEntry, commit: Commit) -> int:
        self.gone[file.path] = commit.at
        if commit.kind == "prune":
            self.pruned.update(files=1, rows=file.rows, bytes=file.bytes)
        was = self.files.pop(file.path, None)
        return was.origin if was else commit.number

    def progress(self, project: str, stream: str) -> Progress:
        return self.streams.setdefault((project, stream), Progress())

    def checkpoint(self, key: SigningKey) -> bytes:
        """Give it as a signed file."""
        return sign({**self.document(), "key": key.key_id}, key)

    def document(self) -> dict[str, Any]:
        """Give it as JSON; the parts that files were made of stay in the lines."""
        commits: dict[int, dict[str, Any]] = {}
        for live in self.files.values():
            label = {name: getattr(live.commit, name) for name in _LABEL}
            brought = commits.setdefault(live.commit.number, {**label, "files": []})
            brought["files"].append([live.origin, live.merged, asdict(replace(live.file, parts=()))])
        return {
            "number": self.number,
            "digest": self.digest,
            "offset": self.offset,
            "last_bytes": self.last_bytes,
            "commits": list(commits.values()),
            "streams": [[*of, progress.document()] for of, progress in self.streams.items()],
            "gone": self.gone,
            "lines": self.lines,
            "pruned": self.pruned,
        }

    @classmethod
    def parse(cls, data: bytes) -> State | None:
        """Read a checkpoint; None when it is none."""
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            fields: dict[str, Any] = json.loads(data)
            for name in ("key", "signature"):
                fields.pop(name, None)
            fields["files"] = dict(map(_live, _entries(fields.pop("commits"))))
            fields["streams"] = {
                (project, stream): _progress(progress) for project, stream, progress in fields["streams"]
            }
            fields["number"] = int(fields["number"])
            for name in ("lines", "pruned"):
                fields[name] = Counter(fields[name])
            return cls(**fields)
        return None


def _entries(commits: list[dict[str, Any]]) -> list[tuple[Commit, Any]]:
    return [
        (Commit(**{name: one[name] for name in _LABEL}, files=()), file)
        for one in commits
        for file in one["files"]
    ]


def _live(found: tuple[Commit, Any]) -> tuple[str, Live]:
    commit, (origin, merged, fields) = found
    file = entry(fields)
    return file.path, Live(commit, file, int(origin), int(merged))


def _progress(fields: dict[str, Any]) -> Progress:
    return Progress(**{**fields, "marks": Marks(fields["marks"]), "rows": Counter(fields["rows"])})


def load(source: Source, trusts: Callable[[bytes], bool] = bool) -> State:
    """Give the state of a store: its checkpoint, if `trusts` takes it, and the lines behind it.

    Raises AuditError where a line isn't what was written.
    """
    data = source.checkpoint()
    state = State.parse(data) if data and trusts(data) else None
    if state is None or not source.follows(state):
        state = State()
    for commit, line in chained(source.lines(state), source.manifest, state.number, state.digest):
        state.take(commit, line)
    return state
