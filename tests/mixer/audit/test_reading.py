"""Following, tracing, exporting and asking the audit store, from the commands and from other programs."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxrig.cli import console, mixer
from fluxrig.errors import AuditError
from mixer.audit.export import export, format_of
from mixer.audit.origin import Marks
from mixer.audit.query import query
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from mixer.audit.tail import Filter, tail
from mixer.audit.trace import trace

from .stream import NOON_NS, message, parcels, run_of, stored


@pytest.fixture
def audit(store: AuditStore) -> Path:
    """Three messages of a family, the last with hops; then one of another asset and Rack."""
    reading = message(1, {"p": 1.5, "on": True}, meta={"unit.p": "bar"})
    derived = message(2, {"p": 2.5}, ref=reading.id, path=[["press-line-3/scale", NOON_NS + 5_000]])
    event = message(3, {"x": "é"}, ref=derived.id, schema="fluxrig.event/1")
    other = message(4, {"p": 9}, uns="acme/lyon/pressing", src="other/tap")
    items = parcels([reading, derived, event, other])
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    return store.folder


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), [1, 2, 3, 4]),
        (Filter(uns="acme/lyon/press"), [1, 2, 3]),
        (Filter(uns="acme"), [1, 2, 3, 4]),
        (Filter(rack="other"), [4]),
        (Filter(schema="fluxrig.event/1"), [3]),
        (Filter(project="default"), [1, 2, 3, 4]),
        (Filter(project="another"), []),
        (Filter(uns="acme/lyon/press", schema="fluxrig.tags/1"), [1, 2]),
    ],
)
def test_tail_shows_what_is_wanted(audit: Path, wanted: Filter, numbers: list[int]) -> None:
    """By asset and those below it, by Rack and by schema."""
    found = [int(row["id"][-2:]) for row in tail(audit, wanted, 10, lambda: True)]
    assert found == numbers
    assert [int(row["id"][-2:]) for row in tail(audit, wanted, 1, lambda: True)] == numbers[-1:]


def test_tail_goes_on_with_what_is_committed(audit: Path) -> None:
    """A commit made while it follows is shown, once."""
    following = tail(audit, Filter(), 1, lambda: False)
    assert next(following)["id"].endswith("04")
    store = AuditStore(audit)
    store.commit("UNS", "2026-11-21", tabulate("UNS", run_of(10, 1), Marks()))
    assert [next(following)["data"] for _ in range(3)] == ['{"n":27}', '{"n":28}', '{"n":29}']


def test_trace_gives_the_family_and_the_hops(audit: Path) -> None:
    """What a message derives from, its own stations with times, and what derives from it."""
    family = trace(audit, "00000000-0000-0000-0000-000000000002")
    assert [(one["generation"], int(one["id"][-2:])) for one in family] == [(-1, 1), (0, 2), (1, 3)]
    hops = family[1]["hops"]
    assert [hop["at"] for hop in hops] == ["source", "press-line-3/scale", "hub (leaf leaf-a, number 1)"]
    assert hops[1] == {
        "at": "press-line-3/scale",
        "time": "2026-11-21T12:00:00.000005000Z",
        "after_us": 4.998,
    }
    with pytest.raises(AuditError, match="no message"):
        trace(audit, "00000000-0000-0000-0000-0000000000aa")


def test_messages_that_refer_to_each_other_end(store: AuditStore) -> None:
    """A circle of references, which a peer may well send, is walked once."""
    items = [stored(1, [message(1, ref=message(2).id), message(2, ref=message(1).id)], 0)]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    assert {one["id"][-1] for one in trace(store.folder, message(1).id.hex())} == {"1", "2"}


@pytest.mark.parametrize("kind", ["csv", "json", "arrow", "parquet"])
def test_export_gives_the_same_rows_in_each_format(audit: Path, tmp_path: Path, kind: str) -> None:
    """A file of each format has the answer, and nothing half written is left beside it."""
    path = tmp_path / f"out.{kind}"
    with query(audit, "SELECT tag, value FROM samples ORDER BY value") as reader:
        assert export(reader, path, format_of(path)) == 4
    expected = [("on", 1.0), ("p", 1.5), ("p", 2.5), ("p", 9.0)]
    if kind == "csv":
        found = [
            (row["tag"], float(row["value"])) for row in csv.DictReader(path.read_text("utf-8").splitlines())
        ]
    elif kind == "json":
        found = [(row["tag"], row["value"]) for row in json.loads(path.read_text("utf-8"))]
    else:
        table = pa.ipc.open_file(path).read_all() if kind == "arrow" else pq.read_table(path)
        found = [(row["tag"], row["value"]) for row in table.to_pylist()]
    assert found == expected
    assert list(tmp_path.glob("*.part")) == []


def test_an_unknown_format_is_refused() -> None:
    """A name that says nothing needs --format."""
    with pytest.raises(AuditError, match="--format"):
        format_of(Path("out.xlsx"))


def test_plain_duckdb_reads_the_folder_with_views_sql(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`views.sql`, run by a DuckDB that knows nothing of fluxrig, gives what a query gives."""
    monkeypatch.chdir(audit)
    sql = "SELECT uns, tag, value, unit, epoch_ns(ts), date::VARCHAR FROM samples ORDER BY ALL"
    with duckdb.connect() as plain:
        plain.execute((audit / "views.sql").read_text("utf-8"))
        found = plain.execute(sql).fetchall()
    with query(audit, sql) as reader:
        ours = list(zip(*reader.read_all().to_pydict().values(), strict=True))
    assert found == ours
    assert len(found) == 4


def test_polars_and_pandas_read_the_folder(audit: Path) -> None:
    """The hive partitions are read as they are, with types and nanoseconds."""
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    expected = [NOON_NS + number for number in (1, 2, 3, 4)]
    frame = pandas.read_parquet(audit / "messages")
    assert sorted(frame["ts"].astype("int64")) == expected
    assert str(frame["ts"].dtype) == "datetime64[ns, UTC]"
    lazy = polars.scan_parquet(audit / "messages" / "**" / "*.parquet", hive_partitioning=True)
    rows = lazy.sort("stream_seq", "leaf_seq").collect()
    assert rows["ts"].cast(polars.Int64).to_list() == expected
    assert rows["cbor"].to_list() == frame.sort_values(["stream_seq", "leaf_seq"])["cbor"].tolist()
    assert set(rows["project"]) == {"default"}


def run_command(audit: Path, *arguments: str) -> int:
    return console.run(mixer.app, ["audit", *arguments, "--data", str(audit.parent)])


def test_the_commands(audit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """tail, trace and export as they are typed."""
    assert run_command(audit, "tail", "--no-follow", "--json", "--rack", "other") == 0
    assert json.loads(capsys.readouterr().out)["ts"] == "2026-11-21T12:00:00.000000004Z"
    assert run_command(audit, "tail", "--no-follow") == 0
    assert "acme/lyon/press  press-line-3/press" in capsys.readouterr().out
    assert run_command(audit, "trace", message(2).id.hex()) == 0
    assert "derived from 00000000-0000-0000-0000-000000000001" in capsys.readouterr().out
    assert run_command(audit, "export", "samples", str(tmp_path / "s.parquet")) == 0
    assert pq.read_table(tmp_path / "s.parquet").num_rows == 4
    assert run_command(audit, "export", "SELEC", str(tmp_path / "x.csv")) == 1
    assert not (tmp_path / "x.csv").exists()


def test_the_shell_answers_and_goes_on_after_an_error(audit: Path, tmp_path: Path) -> None:
    """Queries over several lines, an error in between, and a way out."""
    script = "import sys; from fluxrig.cli.mixer import main; main()"
    typed = ".help\nSELECT nonsense;\nSELECT count(*)\nFROM messages;\n.tables\n.quit\n"
    done = subprocess.run(
        [sys.executable, "-c", script, "audit", "sql", "--data", str(audit.parent)],
        input=typed, capture_output=True, text=True, timeout=60, check=False,
        env={"XDG_STATE_HOME": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0
    assert "error:" in done.stderr
    assert "nonsense" in done.stderr
    assert "count_star()" in done.stdout
    assert "transactions" in done.stdout
