"""SQL over the audit store: DuckDB on exactly the files of the manifest, also while the Mixer writes.

DuckDB sees the audit folder alone, can't change its own settings, and runs one SELECT. Times are shown as
TIMESTAMP_NS in UTC, and `now()` is in UTC too, because DuckDB has no arithmetic on TIMESTAMPTZ_NS.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import pyarrow as pa

from fluxrig.errors import AuditError
from mixer.audit.local import Local
from mixer.audit.manifest import FileEntry
from mixer.audit.source import Place, Source, source
from mixer.audit.state import load
from mixer.audit.tables import TABLES
from mixer.audit.views import view

BATCH_ROWS: Final = 10_000
_TRIES: Final = 5
_WRITES: Final = ("COPY", "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "EXPORT", "ATTACH")
"""In the names of plan operators that change something: since DuckDB 2 a WITH clause may hold them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take."""

    memory_mib: int = 1024
    spill_mib: int = 8192
    """Disk for what does not fit into memory, in the folder for temporary files."""
    time_s: float = 300.0
    threads: int = 0
    """0: one a core."""


@contextmanager
def query(place: Place, sql: str, limits: Limits | None = None) -> Iterator[pa.RecordBatchReader]:
    """Run one SELECT on an audit store and give its rows as they come.

    Raises AuditError: wrong SQL, a limit passed, or a place without an audit store.
    """
    limits, store = limits or Limits(), source(place)
    with TemporaryDirectory(prefix="fluxrig-query-") as scratch, _translated(limits), store.reading():
        for retry in reversed(range(_TRIES)):
            with (
                connect(store, limits, Path(scratch) / str(retry)) as connection,
                _guarded(connection, limits.time_s),
            ):
                try:
                    _check(connection, sql)
                    reader = connection.sql(sql).to_arrow_reader(BATCH_ROWS)
                except duckdb.IOException:
                    if not retry:
                        raise
                    continue  # the Mixer moved a file to its place between our look and DuckDB's
                yield reader
                return


@contextmanager
def _guarded(connection: duckdb.DuckDBPyConnection, time_s: float) -> Iterator[None]:
    """Interrupt the query when its time is over or a signal comes.

    DuckDB works in C, where Python's signal handlers wait; the wakeup descriptor does not.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ended = threading.Event()

    def watch() -> None:
        select.select([ours], [], [], time_s)
        if not ended.is_set():
            connection.interrupt()

    watcher = threading.Thread(target=watch, name="query guard", daemon=True)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False) if in_main else -1
    watcher.start()
    try:
        yield
    finally:
        if in_main:
            signal.set_wakeup_fd(before)
        ended.set()
        theirs.send(b"\0")
        watcher.join()
        ours.close()
        theirs.close()


def connect(store: Source, limits: Limits, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open a connection with the views, closed to all else. `scratch` is a folder for its temporary files."""
    if not store.exists():
        raise AuditError(f"there is no audit store at {store}; start `mixer up`, or give its --data folder")
    connection = duckdb.connect(":memory:")
    spill = scratch / "spill"
    spill.mkdir(parents=True)
    folders = ", ".join(map(_quoted, [scratch, *([store.folder] if isinstance(store, Local) else [])]))
    statements = (
        "SET TimeZone = 'UTC'",
        "SET enable_progress_bar = false",  # it would be drawn among the answers
        "CREATE MACRO now() AS get_current_timestamp()::TIMESTAMP",
        *_views(connection, store, scratch),
        f"SET memory_limit = '{limits.memory_mib}MiB'",
        f"SET temp_directory = {_quoted(spill)}",
        f"SET max_temp_directory_size = '{limits.spill_mib}MiB'",
        *([f"SET threads = {limits.threads}"] if limits.threads else []),
        "SET autoinstall_known_extensions = false",
        "SET python_enable_replacements = false",
        f"SET allowed_directories = [{folders}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    )
    connection.execute("; ".join(statements))
    return connection


def _views(connection: duckdb.DuckDBPyConnection, store: Source, scratch: Path) -> Iterator[str]:
    files: dict[str, list[FileEntry]] = defaultdict(list)
    hours = False
    for path, live in load(store).files.items():
        files[live.file.table].append(live.file)
        hours = hours or "/hour=" in path
    for table in TABLES.values():
        found = store.scan(connection, table, files[table.name], scratch, hours=hours)
        yield view(table, found, hours=hours)


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise AuditError unless the text is one SELECT that changes nothing."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise AuditError("a query is one SELECT (or DESCRIBE, SHOW, SUMMARIZE); the audit store is read-only")
    if any(word in name for name in _operators(_plan(connection, sql)) for word in _WRITES):
        raise AuditError("this query would write; the audit store is read-only")


def _plan(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    try:
        found = connection.sql(f"EXPLAIN (FORMAT json) {sql}").fetchall()
    except duckdb.IOException:
        raise
    except duckdb.Error:
        connection.sql(sql)  # what can't be explained can't be run: the error now speaks of the query alone
        raise
    plan: list[dict[str, Any]] = json.loads(found[0][1])
    return plan


def _operators(plan: list[dict[str, Any]]) -> Iterator[str]:
    for node in plan:
        yield str(node.get("name", "")).upper()
        yield from _operators(node.get("children", []))


@contextmanager
def _translated(limits: Limits) -> Iterator[None]:
    """Give DuckDB's errors as one line."""
    try:
        yield
    except duckdb.InterruptException:
        raise AuditError(
            f"the query took longer than {limits.time_s:g} s; narrow it, or raise --timeout"
        ) from None
    except duckdb.OutOfMemoryException as error:
        raise AuditError(f"the query needs more memory; raise --memory ({_one_line(error)})") from None
    except (duckdb.Error, pa.ArrowException) as error:
        raise AuditError(_one_line(error)) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _quoted(path: Path) -> str:
    return "'" + str(path.resolve()).replace("'", "''") + "'"
