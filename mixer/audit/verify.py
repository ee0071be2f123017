"""Verify an audit folder: its manifest, and every row of every file, recomputed from the Parquet alone."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fluxrig.errors import AuditError
from fluxrig.evidence import PublicKeys, unsigned
from mixer.audit.check_file import Finding, Job, Outcome, check
from mixer.audit.layout import partition_of
from mixer.audit.manifest import GENESIS, HEAD, NAME, Commit, FileEntry, Head, digest, parse
from mixer.audit.source import Place, Source, source
from mixer.audit.state import CHECKPOINT, State

_INLINE_ROWS: Final = 100_000
"""Fewer rows than that are checked sooner than processes start."""

Progress = Callable[[int, int], None]
"""Hears how many rows of how many are checked."""


@dataclass(slots=True)
class Report:
    """What was verified, and what was found."""

    lines: int = 0
    files: int = 0
    rows: int = 0
    pruned: int = 0
    """Files that a signed tombstone took away."""
    head: str = ""
    """`NUMBER:DIGEST` of the last line: whoever keeps it elsewhere can ask for it with `--head` later."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class Scope:
    """How much to verify, and with what."""

    since: datetime | None = None
    """Rows of older commits are left out; the manifest is checked whole."""
    head: str = ""
    """`NUMBER:DIGEST` that an earlier report gave."""
    processes: int = 0
    """0: one a core."""


def verify(
    place: Place, keys: PublicKeys, scope: Scope | None = None, progress: Progress | None = None
) -> Report:
    """Verify a store. Raises AuditError when there is none."""
    store = source(place)
    with store.reading():
        return _verify(store, keys, scope or Scope(), progress)


def _verify(store: Source, keys: PublicKeys, scope: Scope, progress: Progress | None) -> Report:
    head, checkpoint = store.head(), store.checkpoint()  # before the manifest, which may grow meanwhile
    report = Report()
    commits, digests, state = _check_manifest(store, keys, checkpoint, report)
    if scope.head:
        report.findings += _check_anchor(digests, scope.head)
    report.findings += _check_head(keys, head, digests)
    report.pruned = state.pruned["files"]
    report.findings += _strangers(store, state)
    jobs = _jobs(store, commits, state, scope.since)
    report.files = sum(len(job.files) for job in jobs)
    digests_of = {path: live.file.sha256 for path, live in state.files.items()}
    for outcome in _outcomes(jobs, scope.processes or os.cpu_count() or 1):
        report.rows += outcome.rows
        report.findings += _swaps(outcome, digests_of)
        if progress is not None:
            progress(report.rows, sum(file.rows for job in jobs for file in job.files))
    return report


def _check_manifest(
    store: Source, keys: PublicKeys, checkpoint: bytes | None, report: Report
) -> tuple[list[Commit], dict[int, str], State]:
    """Check line by line, going on behind a fault; give commits, the digest of each line, the state.

    Raises AuditError when there is no manifest.
    """
    commits: list[Commit] = []
    digests: dict[int, str] = {}
    state, said = State(), State.parse(checkpoint) if checkpoint else None
    previous, number, unsigned_lines, place = GENESIS, 0, [], 0
    for place, line in enumerate(store.lines(), 1):
        if not line.endswith(b"\n"):
            break  # a commit that was under way
        try:
            fields, commit = json.loads(line), parse(line)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            report.findings.append(Finding(NAME, place, "the line was changed: it is no commit"))
            previous, number = digest(line), number + 1
            continue
        what = _signature_fault(line, fields, keys)
        if what is None and commit.number != number + 1:
            what = _number_fault(commit.number, number)
        if what is None and fields["previous"] != previous:
            what = "the line before this one was changed, moved or removed"
        if what == "":
            unsigned_lines.append(place)
        elif what:
            report.findings.append(Finding(NAME, place, what))
        commits.append(commit)
        state.take(commit, line)
        previous, number = digest(line), commit.number
        digests[number] = previous
        if said and said.number == number and checkpoint:
            report.findings += _check_checkpoint(keys, checkpoint, said, state)
    if not place and not store.exists():
        if store.head() is None:
            raise AuditError(f"there is no audit store at {store}")
        report.findings.append(Finding(NAME, None, "the manifest was removed"))
    if checkpoint and (said is None or said.number > number):
        what = "is no checkpoint" if said is None else f"knows of line {said.number}, which is not there"
        report.findings.append(Finding(CHECKPOINT, None, what))
    if unsigned_lines:
        what = (
            f"{len(unsigned_lines)} lines from here on carry no signature: they were written without evidence"
        )
        report.findings.append(Finding(NAME, unsigned_lines[0], what))
    report.lines, report.head = len(commits), f"{number}:{previous}"
    return commits, digests, state


def _check_checkpoint(keys: PublicKeys, data: bytes, said: State, state: State) -> Iterator[Finding]:
    """Hold what readers start from against what the lines come to."""
    fault = _signature_fault(data, json.loads(data), keys)
    if fault is not None:
        what = (fault or "carries no signature").replace("the line", "the checkpoint")
        yield Finding(CHECKPOINT, None, what)
        return
    free = ("offset", "gone")  # where it is, and what of it is still there, is not in the lines
    one, other = ({**each.document(), **dict.fromkeys(free)} for each in (said, state))
    if one != other:
        yield Finding(CHECKPOINT, None, f"is not what the first {state.number} lines come to")


def _signature_fault(line: bytes, fields: dict[str, Any], keys: PublicKeys) -> str | None:
    """Say what is wrong with a signature; "" when there is none."""
    try:
        signed, signature = unsigned(line)
    except ValueError:
        return ""
    key = str(fields.get("key"))
    if key not in keys.ids:
        return f"the line was signed by another key, {key}, than {', '.join(sorted(keys.ids))}"
    return None if keys.checks(key, signature, signed) else "the line was changed after it was signed"


def _number_fault(found: int, before: int) -> str:
    if found <= before:
        return f"this is line {found}: it was moved here, or added again"
    missing = f"line {before + 1} is" if found == before + 2 else f"lines {before + 1} to {found - 1} are"
    return f"{missing} missing before this one: removed or moved"


def _check_anchor(digests: dict[int, str], anchor: str) -> Iterator[Finding]:
    number, _, expected = anchor.partition(":")
    if not number.isdecimal() or digests.get(int(number)) != expected:
        yield Finding(NAME, None, f"has no line with the head {anchor}: it was rewritten or cut")


def _check_head(keys: PublicKeys, data: bytes | None, digests: dict[int, str]) -> Iterator[Finding]:
    last = max(digests, default=0)
    head = Head.parse(data) if data else None
    if head is None or data is None:
        if digests:
            how = "is missing" if data is None else "is no head"
            yield Finding(HEAD, None, f"{how}: whether lines were cut off the manifest's end can't be told")
        return
    fault = _signature_fault(data, json.loads(data), keys)
    if fault is not None:
        yield Finding(HEAD, None, (fault or "carries no signature").replace("the line", "the head"))
    elif head.number > last:
        missing = (
            f"line {head.number} was"
            if head.number == last + 1
            else f"lines {last + 1} to {head.number} were"
        )
        yield Finding(NAME, last, f"{missing} cut off its end")
    elif head.number and digests.get(head.number) != head.digest:
        yield Finding(NAME, head.number, "the line is not the one that was signed as the head")


def _strangers(store: Source, state: State) -> Iterator[Finding]:
    """Name files that no line has. Those that compaction or retention is about to remove are known."""
    known = state.files.keys() | state.gone.keys()
    for path in store.paths():
        if path not in known and not store.awaits(path, state):
            what = "no line of the manifest names this file: it was added, or its line was cut off"
            yield Finding(path, None, what)


def _jobs(store: Source, commits: list[Commit], state: State, since: datetime | None) -> list[Job]:
    roots = {file.path: file.root for commit in commits for file in commit.files}
    groups: dict[tuple[int, str], list[FileEntry]] = defaultdict(list)
    for path, live in state.files.items():
        if since is None or datetime.fromisoformat(live.commit.at) >= since:
            groups[live.commit.number, partition_of(path)].append(live.file)
    parts = (
        (files, {part: roots.get(part, "") for file in files for part, _ in file.parts})
        for files in groups.values()
    )
    return [Job(store, tuple(files), origins) for files, origins in parts]


def _outcomes(jobs: list[Job], processes: int) -> Iterator[Outcome]:
    """Check all jobs, in processes where there is much to check."""
    if processes == 1 or sum(file.rows for job in jobs for file in job.files) < _INLINE_ROWS:
        yield from map(check, jobs)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(check, jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _swaps(outcome: Outcome, signed: dict[str, str]) -> Iterator[Finding]:
    """Say of a file that holds what another had just that, in place of all its rows."""
    changed = {path: found for path, found in outcome.digests.items() if found != signed[path]}
    holders = {found: path for path, found in signed.items()} if changed else {}
    swapped = {path: holders[found] for path, found in changed.items() if found in holders}
    for path, other in swapped.items():
        yield Finding(
            path, None, f"the file holds what was signed as {other}: they were swapped, or it was copied"
        )
    yield from (one for one in outcome.findings if one.file not in swapped)
