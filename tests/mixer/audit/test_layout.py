"""Partitions of projects and hours are read by every reader as they are, and kept apart."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from fluxrig.errors import AuditError
from fluxrig.evidence import PublicKeys
from mixer.audit import compact
from mixer.audit.layout import file_path, partition_of, value_of
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from mixer.audit.verify import verify

from .stream import NOON_NS, leaf_seqs, message, rows, stored

HOUR_NS = 3600 * 10**9


def test_a_path_says_what_is_in_it() -> None:
    """Table, project, day and hour are told from the path again."""
    path = file_path("samples", "lyon-2", "2026-11-21T07", "x")
    assert path == "samples/project=lyon-2/date=2026-11-21/hour=07/x.parquet"
    assert (partition_of(path), value_of(path, "project")) == ("2026-11-21T07", "lyon-2")
    assert partition_of(file_path("samples", "default", "2026-11-21", "x")) == "2026-11-21"


@pytest.mark.parametrize("project", ["", "a/b", "..", "a=b", "é", "x" * 65, "-a"])
def test_a_project_is_no_way_out_of_the_folder(store: AuditStore, project: str) -> None:
    """A name that would be another path, or none in some reader, is refused."""
    with pytest.raises(AuditError, match="no name of a project"):
        store.commit("UNS", "e", tabulate("UNS", [stored(1, [message(1)], 1)], Marks()), project)
    assert list((store.folder / "messages").rglob("*.parquet")) == []


@pytest.fixture
def audit(store: AuditStore) -> Path:
    """Two projects, each with the same sequences of its own stream, over three hours, by hour."""
    for project, first in (("default", 0), ("lyon", 100)):
        items = [
            stored(seq, [message(first + seq)], seq, leaf=project, time_ns=NOON_NS + (seq % 3) * HOUR_NS)
            for seq in (3, 6, 1, 4, 2, 5)
        ]
        marks = Marks()
        run = tabulate("UNS", items[:2], marks, hourly=True)
        run.extend(tabulate("UNS", sorted(items[2:], key=lambda item: item.seq), Marks(), hourly=True))
        store.commit("UNS", "e", run, project)
    return store.folder


SQL = "SELECT project, date::VARCHAR, hour::INTEGER, leaf_seq FROM messages ORDER BY ALL"
EXPECTED = [
    (project, "2026-11-21", 12 + hour, seq)
    for project in ("default", "lyon")
    for hour in range(3)
    for seq in (1, 2, 3, 4, 5, 6)
    if seq % 3 == hour
]


def test_projects_and_hours_are_columns(audit: Path) -> None:
    """A query names them, and each project has its own progress and rows."""
    assert rows(audit, SQL) == EXPECTED
    assert rows(audit, "SELECT count(*) FROM samples WHERE hour = 13 AND project = 'lyon'") == [(2,)]
    assert rows(audit, "SELECT count(*) FROM quarantine WHERE hour = 13") == [(0,)]
    store = AuditStore(audit)
    assert store.progress("UNS", "lyon").marks == {"press-line-3/lyon": 5}
    assert verify(audit, PublicKeys.load([audit.parent / "signing.pub"])).findings == []


def test_other_readers_read_hours_as_they_are(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain DuckDB with views.sql, pyarrow.dataset, polars and pandas: the same rows."""
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    monkeypatch.chdir(audit)
    with duckdb.connect() as plain:
        plain.execute((audit / "views.sql").read_text("utf-8"))
        assert plain.execute(SQL).fetchall() == EXPECTED
    hive = ds.partitioning(
        pa.schema([("project", pa.string()), ("date", pa.string()), ("hour", pa.int32())]), flavor="hive"
    )
    names = ["project", "date", "hour", "leaf_seq"]
    table = ds.dataset(audit / "messages", format="parquet", partitioning=hive).to_table(names)
    assert sorted(tuple(row.values()) for row in table.to_pylist()) == EXPECTED
    lazy = polars.scan_parquet(audit / "messages" / "**" / "*.parquet", hive_partitioning=True)
    frame = lazy.select("project", polars.col("date").cast(polars.String), "hour", "leaf_seq").collect()
    assert sorted(frame.rows()) == EXPECTED
    whole = pandas.read_parquet(audit / "messages")
    found = whole.astype({"project": str, "date": str, "hour": int})[names]
    assert sorted(found.itertuples(index=False, name=None)) == EXPECTED


def test_compaction_keeps_projects_and_hours_apart(audit: Path) -> None:
    """What is merged is of one project and one hour."""
    store = AuditStore(audit)
    items = [stored(7, [message(7)], 7, leaf="lyon", time_ns=NOON_NS)]
    run = tabulate("UNS", items, Marks(store.progress("UNS", "lyon").marks), hourly=True)
    store.commit("UNS", "e", run, "lyon")
    assert [*compact.compact(store, compact.plan(store))]
    assert len(list((audit / "messages").rglob("*.parquet"))) == 6
    assert rows(audit, SQL) == sorted([*EXPECTED, ("lyon", "2026-11-21", 12, 7)])
    assert verify(audit, PublicKeys.load([audit.parent / "signing.pub"])).findings == []
    assert len(leaf_seqs(audit)) == 13


def test_days_and_hours_are_not_mixed(audit: Path, tmp_path: Path) -> None:
    """No reader takes both in one table; a store says which it is."""
    with pytest.raises(AuditError, match="--partition hour"):
        AuditStore(audit).check_partition(hourly=False)
    AuditStore(audit).check_partition(hourly=True)
    AuditStore(tmp_path / "new").check_partition(hourly=True)
