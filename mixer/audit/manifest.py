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
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from fluxrig.errors import AuditError
from fluxrig.evidence import SigningKey, signed

NAME: Final = "manifest.jsonl"
HEAD: Final = "head.json"
DEFAULT_PROJECT: Final = "default"
_BELOW: Final = r"^([^./][^/]*/)+[^./][^/]*$"
"""A path that does not leave the folder."""
GENESIS: Final = "0" * 64
"""What the first line carries in place of a digest."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One Parquet file: its path below the audit folder, and what it must hold."""

    path: Annotated[str, Field(pattern=_BELOW)]
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
    columns: int = 0
    """How many columns it has: a table only ever gains columns, at its end. 0 is not known."""


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
    """By `<rack>/<leaf>`: the number of the leaf's last message in here."""
    kind: Literal["commit", "compact", "prune"] = "commit"
    gone: tuple[FileEntry, ...] = ()
    reason: str = ""
    project: str = DEFAULT_PROJECT

    def line(self, previous: str, key: SigningKey) -> bytes:
        """Give the line, signed; `previous` is the digest of the one before."""
        fields = {"previous": previous, **asdict(self), "key": key.key_id}
        return sign(fields, key)


class Head(NamedTuple):
    """The last line that is known to have been written."""

    number: int
    digest: str

    def file(self, key: SigningKey) -> bytes:
        """Give what `head.json` holds."""
        return sign({**self._asdict(), "key": key.key_id}, key)

    @classmethod
    def parse(cls, data: bytes) -> Head | None:
        """Read what `head.json` holds; None when it is nothing of the kind."""
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            fields = json.loads(data)
            return cls(int(fields["number"]), str(fields["digest"]))
        return None


def sign(fields: dict[str, Any], key: SigningKey) -> bytes:
    """Give a signed line of JSON."""
    line = json.dumps(fields, separators=(",", ":")).encode()
    return signed(line, key.sign(line))


def digest(line: bytes) -> str:
    """Give what the next line carries."""
    return hashlib.sha256(line).hexdigest()


def read(path: Path) -> Iterator[tuple[Commit, bytes]]:
    """Give each commit of a manifest that has them all, and its line. See `chained`."""
    if path.exists():
        with path.open("rb") as file:
            yield from chained(file, path)


def chained(
    lines: Iterable[bytes], name: object, number: int = 0, previous: str = GENESIS
) -> Iterator[tuple[Commit, bytes]]:
    """Give each commit and its line behind line `number`, having checked the chain.

    A torn last line is no commit and left out. Raises AuditError where a line isn't what was written.
    """
    for line in lines:
        if not line.endswith(b"\n"):
            return
        number += 1
        yield _chained(line, number, previous, name), line
        previous = digest(line)


def _chained(line: bytes, number: int, previous: str, name: object) -> Commit:
    try:
        fields = json.loads(line)
        is_next = fields["previous"] == previous
        commit = _commit(fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        is_next = False
    if not is_next or commit.number != number:
        raise AuditError(
            f"{name}:{number}: this line was changed, or one before it is missing; "
            "`mixer audit verify` tells more; restore the manifest from a backup of the audit folder"
        )
    return commit


def parse(line: bytes) -> Commit:
    """Read one line. Raises one of the errors of reading JSON when it is none."""
    commit = _commit(json.loads(line))
    datetime.fromisoformat(commit.at)
    return commit


def _commit(fields: dict[str, Any]) -> Commit:
    return _LINE.validate_python(fields)


def entry(fields: dict[str, Any]) -> FileEntry:
    """Read the entry of one file. Raises ValueError when it is none."""
    return _ENTRY.validate_python(fields)


_LINE: Final = TypeAdapter(Commit)
_ENTRY: Final = TypeAdapter(FileEntry)
