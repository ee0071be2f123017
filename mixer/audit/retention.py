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
from mixer.audit.layout import value_of
from mixer.audit.manifest import Commit, FileEntry
from mixer.audit.state import Live
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


def plan(store: AuditStore, rule: Rule, today: date | None = None) -> list[Live]:
    """Give the files that a rule takes away, the oldest first. The present day stays."""
    today = today or datetime.now(UTC).date()
    groups: dict[tuple[str, str], list[Live]] = defaultdict(list)
    for live in store.files():
        if rule.takes(live.file):
            groups[live.file.table, _project(live.file)].append(live)
    return [live for group in groups.values() for live in _of_group(rule, group, today)]


def _of_group(rule: Rule, group: list[Live], today: date) -> list[Live]:
    left = sum(live.file.bytes for live in group)
    gone = []
    for live in sorted(group, key=lambda one: (_day(one.file), one.file.path)):
        day = _day(live.file)
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        midnight = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=1)
        is_old = rule.age_s is not None and (midnight - end).total_seconds() > max(rule.age_s, _DAY_S)
        is_much = rule.bytes is not None and left > rule.bytes and day < today
        if is_old or is_much:
            gone.append(live)
            left -= live.file.bytes
    return gone


def prune(store: AuditStore, files: list[Live], reason: str) -> list[Commit]:
    """Take files away and leave a tombstone for each stream."""
    streams: dict[tuple[str, str], list[FileEntry]] = defaultdict(list)
    for live in files:
        streams[live.commit.project, live.commit.stream].append(live.file)
    fields: dict[str, Any] = {"epoch": "", "kind": "prune", "reason": reason}
    return [
        store.write(stream, (0, 0), [], gone=tuple(gone), project=project, **fields)
        for (project, stream), gone in streams.items()
    ]


def _project(file: FileEntry) -> str:
    return value_of(file.path, "project")


def _day(file: FileEntry) -> date:
    return date.fromisoformat(value_of(file.path, "date"))
