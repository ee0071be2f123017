"""Retention: what is too old or too much goes, and a signed tombstone says what it was.

A tombstone keeps each file's path, rows, size, digest and root. Age is that of the partition: the day on
which the hub stored a message.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from fluxrig.errors import AuditError
from mixer.audit.manifest import NAME, Commit, FileEntry, live, read
from mixer.audit.store import AuditStore
from mixer.audit.tables import TABLES

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Rule:
    """What to keep of one table (or of each, when it is empty) of one project (likewise)."""

    table: str = ""
    project: str = ""
    age_s: float | None = None
    """Days that ended longer ago than this go."""
    bytes: int | None = None
    """The oldest days go until no more than this is left of a table."""

    def __post_init__(self) -> None:
        if self.table and self.table not in TABLES:
            raise AuditError(f"there is no table {self.table!r}; choose one of {', '.join(TABLES)}")
        if self.age_s is None and self.bytes is None:
            raise AuditError("say what to keep: an age, a size, or both")

    def takes(self, file: FileEntry) -> bool:
        """Tell whether the rule speaks of a file."""
        return self.table in ("", file.table) and self.project in ("", _project(file))


def plan(store: AuditStore, rule: Rule, today: date | None = None) -> list[FileEntry]:
    """Give the files that a rule takes away, the oldest first. The present day stays."""
    today = today or datetime.now(UTC).date()
    groups: dict[tuple[str, str], list[FileEntry]] = defaultdict(list)
    for _, file in live(commit for commit, _ in read(store.folder / NAME)).values():
        if rule.takes(file):
            groups[file.table, _project(file)].append(file)
    return [file for files in groups.values() for file in _of_group(rule, files, today)]


def _of_group(rule: Rule, files: list[FileEntry], today: date) -> list[FileEntry]:
    left = sum(file.bytes for file in files)
    gone = []
    for file in sorted(files, key=lambda one: (_day(one), one.path)):
        day = _day(file)
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        midnight = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=1)
        is_old = rule.age_s is not None and (midnight - end).total_seconds() > max(rule.age_s, _DAY_S)
        is_much = rule.bytes is not None and left > rule.bytes and day < today
        if is_old or is_much:
            gone.append(file)
            left -= file.bytes
    return gone


def prune(store: AuditStore, files: list[FileEntry], reason: str) -> list[Commit]:
    """Take files away and leave a tombstone for each stream."""
    streams: dict[str, list[FileEntry]] = defaultdict(list)
    for file in files:
        streams[_stream(file)].append(file)
    fields: dict[str, Any] = {"epoch": "", "kind": "prune", "reason": reason}
    return [store.write(stream, (0, 0), [], gone=tuple(gone), **fields) for stream, gone in streams.items()]


def _stream(file: FileEntry) -> str:
    """Give the stream of a file, which is in its name: `<line>-<stream>-<first>-<last>.parquet`."""
    return file.path.rpartition("/")[2].split("-")[1]


def _project(file: FileEntry) -> str:
    return file.path.partition("project=")[2].partition("/")[0]


def _day(file: FileEntry) -> date:
    return date.fromisoformat(file.path.partition("date=")[2].partition("/")[0])
