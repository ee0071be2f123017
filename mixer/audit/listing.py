"""What is in an audit folder: its files, and how much of each table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixer.audit.manifest import NAME, live, read
from mixer.audit.tables import TABLES


def files(folder: Path) -> Iterator[dict[str, Any]]:
    """Give each Parquet file, the oldest first."""
    for path, (commit, file) in live(commit for commit, _ in read(folder / NAME)).items():
        yield {
            "path": path,
            "table": file.table,
            "date": path.partition("date=")[2].partition("/")[0],
            "rows": file.rows,
            "bytes": file.bytes,
            "commit": commit.number,
            "committed": commit.at,
            "merged": len(file.parts),
        }


def stats(folder: Path) -> dict[str, Any]:
    """Give how much there is of each table, and what compaction and retention did."""
    lines = {"commit": 0, "compact": 0, "prune": 0}
    pruned = {"files": 0, "rows": 0, "bytes": 0}
    for commit, _ in read(folder / NAME):
        lines[commit.kind] += 1
        if commit.kind == "prune":
            pruned["files"] += len(commit.gone)
            pruned["rows"] += sum(file.rows for file in commit.gone)
            pruned["bytes"] += sum(file.bytes for file in commit.gone)
    tables = {name: _table([file for file in files(folder) if file["table"] == name]) for name in TABLES}
    return {"tables": tables, "lines": lines, "pruned": pruned}


def _table(found: list[dict[str, Any]]) -> dict[str, Any]:
    rows, size = (sum(file[name] for file in found) for name in ("rows", "bytes"))
    days = sorted(file["date"] for file in found)
    return {
        "files": len(found),
        "rows": rows,
        "bytes": size,
        "bytes_per_row": round(size / rows, 1) if rows else None,
        "first_date": days[0] if days else None,
        "last_date": days[-1] if days else None,
    }
