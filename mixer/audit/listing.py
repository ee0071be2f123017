"""What is in an audit store: its files, and how much of each table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fluxrig.errors import AuditError
from mixer.audit.layout import value_of
from mixer.audit.source import Place, source
from mixer.audit.state import State, load
from mixer.audit.tables import TABLES


def files(place: Place) -> list[dict[str, Any]]:
    """Give each Parquet file, the oldest first."""
    return [*_files(_load(place))]


def _load(place: Place) -> State:
    store = source(place)
    if not store.exists():
        raise AuditError(f"there is no audit store at {store}; start `mixer up`, or give its --data folder")
    return load(store)


def _files(state: State) -> Iterator[dict[str, Any]]:
    for path, (commit, file, _, merged) in state.files.items():
        yield {
            "path": path,
            "table": file.table,
            "project": value_of(path, "project"),
            "date": value_of(path, "date"),
            "rows": file.rows,
            "bytes": file.bytes,
            "commit": commit.number,
            "committed": commit.at,
            "merged": merged,
        }


def stats(place: Place) -> dict[str, Any]:
    """Give how much there is of each table, and what compaction and retention did."""
    state = _load(place)
    found = [*_files(state)]
    lines = {kind: state.lines[kind] for kind in ("commit", "compact", "prune")}
    pruned = {name: state.pruned[name] for name in ("files", "rows", "bytes")}
    tables = {name: _table([file for file in found if file["table"] == name]) for name in TABLES}
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
