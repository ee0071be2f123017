"""The manifest: one line of JSON for each commit, each line carrying the SHA-256 of the line before.

A file is part of the audit store when, and only when, a line names it. Writing the line is the commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from fluxrig.errors import AuditError

NAME: Final = "manifest.jsonl"
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


@dataclass(frozen=True, slots=True)
class Commit:
    """One line: all that one stream's messages from `first` to `last` came to."""

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

    def line(self, previous: str) -> bytes:
        """Give the line, `previous` being the digest of the one before."""
        return json.dumps({"previous": previous, **asdict(self)}, separators=(",", ":")).encode() + b"\n"


def digest(line: bytes) -> str:
    """Give what the next line carries."""
    return hashlib.sha256(line).hexdigest()


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
        fields: dict[str, Any] = json.loads(line)
        chained = fields.pop("previous") == previous
        commit = Commit(**{**fields, "files": tuple(FileEntry(**file) for file in fields["files"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        chained = False
    if not chained or commit.number != number:
        raise AuditError(
            f"{path}:{number}: this line was changed, or one before it is missing; "
            "restore the manifest from a backup of the audit folder"
        )
    return commit
