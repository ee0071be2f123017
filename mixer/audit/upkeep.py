"""Compaction and retention as they are asked for: of the running Mixer, or of a folder that none holds."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from mixer.audit import compact, retention
from mixer.audit.store import AuditStore

_ONE_AT_A_TIME: Final = threading.Lock()


class Task(BaseModel):
    """What to do. A dry run only says what would be done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    do: Literal["compact", "prune"]
    dry_run: bool = False
    target_mib: Annotated[int, Field(ge=1, le=1024)] = compact.TARGET_MIB
    groups: Annotated[int, Field(ge=1)] | None = None
    """Merge no more groups than that, so that who asks sees how it goes on."""
    table: str = ""
    project: str = ""
    age_s: Annotated[float, Field(gt=0)] | None = None
    bytes: Annotated[int, Field(ge=0)] | None = None


def alone() -> threading.Lock:
    """Give what is held while files are merged or pruned: two that plan at once would take the same files."""
    return _ONE_AT_A_TIME


def perform(store: AuditStore, task: Task) -> dict[str, Any]:
    """Do it; give what was done: files and bytes before and after, or the files pruned."""
    with alone():
        return _compact(store, task) if task.do == "compact" else _prune(store, task)


def _compact(store: AuditStore, task: Task) -> dict[str, Any]:
    groups = compact.plan(store, task.target_mib)[: task.groups]
    before = [file for group in groups for unit in group for file in unit.files]
    found = {"dry_run": task.dry_run, "groups": len(groups), "files_before": len(before)}
    found["bytes_before"] = sum(file.bytes for file in before)
    if task.dry_run:
        return found
    after = [file for commit in compact.compact(store, groups) for file in commit.files]
    return {**found, "files_after": len(after), "bytes_after": sum(file.bytes for file in after)}


def _prune(store: AuditStore, task: Task) -> dict[str, Any]:
    files = retention.plan(store, retention.Rule(task.table, task.project, task.age_s, task.bytes))
    if not task.dry_run:
        retention.prune(store, files, _reason(task))
    return {
        "dry_run": task.dry_run,
        "files": [live.file.path for live in files],
        "rows": sum(live.file.rows for live in files),
        "bytes": sum(live.file.bytes for live in files),
    }


def _reason(task: Task) -> str:
    age = None if task.age_s is None else f"older than {task.age_s / 86_400:g} days"
    size = None if task.bytes is None else f"more than {task.bytes} bytes"
    return ", ".join(filter(None, (age, size)))
