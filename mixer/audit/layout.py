"""Where in a store each thing is.

manifest.jsonl                                      what is committed, signed (a folder's)
manifest/0000000001.jsonl                           the same in a bucket: some lines, by the first
head.json                                           how far the manifest goes, signed
checkpoint.json                                     what its lines come to, signed
views.sql                                           the tables, for plain DuckDB
evidence/*.leaves                                   by which a changed row is found
messages/project=default/date=2026-11-21/*.parquet  what any reader finds; with hour=13 where hours are apart
.staged/messages/…                                  what is not in its place yet (a folder's)
"""

from __future__ import annotations

import re
from typing import Final

from fluxrig.errors import AuditError

STAGED: Final = ".staged"
EVIDENCE: Final = "evidence"
LEAF_START: Final = 8
"""Bytes of each leaf hash that are kept to find a row by; what proves it is the root."""

_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def file_path(table: str, project: str, partition: str, name: str) -> str:
    """Give the path of a file; `partition` is a UTC day, `2026-11-21`, or an hour of it, `2026-11-21T13`."""
    if not _PROJECT.fullmatch(project):
        raise AuditError(f"{project!r} is no name of a project: 1 to 64 letters, digits, '-' and '_'")
    day, _, hour = partition.partition("T")
    return f"{table}/project={project}/date={day}/{f'hour={hour}/' if hour else ''}{name}.parquet"


def partition_of(path: str) -> str:
    """Give the day or the hour of a path, as `file_path` takes it."""
    day, hour = (value_of(path, name) for name in ("date", "hour"))
    return f"{day}T{hour}" if hour else day


def value_of(path: str, name: str) -> str:
    """Give the value of a hive partition of a path, "" when it has none of that name."""
    return path.partition(f"/{name}=")[2].partition("/")[0]


def leaves_path(path: str) -> str:
    """Give where the starts of the leaf hashes of the file at `path` are."""
    table, name = path.partition("/")[0], path.rpartition("/")[2].removesuffix(".parquet")
    return f"{EVIDENCE}/{table}-{partition_of(path)}-{name}.leaves"
