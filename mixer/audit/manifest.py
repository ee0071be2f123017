"""The manifest: one signed line of JSON for each commit, each line carrying the SHA-256 of the line before.

A file is part of the audit store when, and only when, a line names it and no later one takes it away. Writing
the line is the commit. `head.json` beside it says, signed as well, how far the manifest goes, so that lines
cut off its end are missed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from fluxrig.errors import AuditError
from fluxrig.evidence import SigningKey, signed

NAME: Final = "manifest.jsonl"
HEAD: Final = "head.json"
GENESIS: Final = "0" * 64
"""What the first line carries in place of a digest."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One Parquet file: its path below the audit folder, and what it must hold."""

    path: str
    table: str
    rows: int
    bytes: int
    sha256: str
    root: str = ""
    """Of the Merkle tree over its rows; empty for a table that follows from `messages`."""
    leaves: str = ""
    """SHA-256 of the file beside it that has the start of each leaf hash, by which a row is found."""
    parts: tuple[tuple[str, int], ...] = ()
    """What was put together to make it, in order: the paths that were, and their rows."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One line. A commit: all that one stream's messages from `first` to `last` came to.

    A compaction puts `files` in the place of those `gone`; a prune, which is a tombstone, has nothing but
    `gone`. Neither moves a stream's progress, and both keep what was said of the files they take away.
    """

    number: int
    stream: str
    epoch: str
    """When the hub's stream was created: one that was lost and made anew counts from 1 again."""
    first: int
    last: int
    at: str
    """When it was written, UTC."""
    files: tuple[FileEntry, ...]
    marks: dict[str, int] = field(default_factory=dict)
    """By leaf: the number of its last message in here."""
    kind: Literal["commit", "compact", "prune"] = "commit"
    gone: tuple[FileEntry, ...] = ()
    reason: str = ""

    def line(self, previous: str, key: SigningKey) -> bytes:
        """Give the line, signed; `previous` is the digest of the one before."""
        fields = {"previous": previous, **asdict(self), "key": key.key_id}
        return _signed(fields, key)


class Head(NamedTuple):
    """The last line that is known to have been written."""

    number: int
    digest: str

    def file(self, key: SigningKey) -> bytes:
        """Give what `head.json` holds."""
        return _signed({**self._asdict(), "key": key.key_id}, key)


def read_head(folder: Path) -> tuple[Head, bytes] | None:
    """Give the head and the bytes of its file; None when it is missing or unreadable."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = (folder / HEAD).read_bytes()
        fields = json.loads(data)
        return Head(int(fields["number"]), str(fields["digest"])), data
    return None


def _signed(fields: dict[str, Any], key: SigningKey) -> bytes:
    line = json.dumps(fields, separators=(",", ":")).encode()
    return signed(line, key.sign(line))


def digest(line: bytes) -> str:
    """Give what the next line carries."""
    return hashlib.sha256(line).hexdigest()


def live(commits: Iterable[Commit]) -> dict[str, tuple[Commit, FileEntry]]:
    """Give the files that are part of the store, by path, each with the commit that brought it."""
    files: dict[str, tuple[Commit, FileEntry]] = {}
    for commit in commits:
        for file in commit.gone:
            files.pop(file.path, None)
        for file in commit.files:
            files[file.path] = commit, file
    return files


def read(path: Path) -> Iterator[tuple[Commit, bytes]]:
    """Give each commit and its line, having checked the chain. A torn last line is no commit and left out.

    Raises AuditError where a line isn't what was written.
    """
    if not path.exists():
        return
    previous = GENESIS
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            yield _parse(line, number, previous, path), line
            previous = digest(line)


def _parse(line: bytes, number: int, previous: str, path: Path) -> Commit:
    try:
        chained = json.loads(line)["previous"] == previous
        commit = parse(line)
    except (ValueError, TypeError, KeyError, AttributeError):
        chained = False
    if not chained or commit.number != number:
        raise AuditError(
            f"{path}:{number}: this line was changed, or one before it is missing; "
            "`mixer audit verify` tells more; restore the manifest from a backup of the audit folder"
        )
    return commit


def parse(line: bytes) -> Commit:
    """Read one line. Raises ValueError, TypeError, KeyError or AttributeError when it is none."""
    fields: dict[str, Any] = json.loads(line)
    for name in ("previous", "key", "signature"):
        fields.pop(name, None)
    for name in ("files", "gone"):
        fields[name] = tuple(map(_file, fields.get(name, ())))
    return Commit(**fields)


def _file(fields: dict[str, Any]) -> FileEntry:
    parts = tuple((str(path), int(rows)) for path, rows in fields.get("parts", ()))
    return FileEntry(**{**fields, "parts": parts})
