"""SQL on the audit store reads what is committed, and can do nothing else."""

import io
import json
import os
from pathlib import Path

import pytest

from fluxrig.errors import AuditError
from mixer.audit import output
from mixer.audit.origin import Marks
from mixer.audit.query import Limits, query
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate

from .stream import RACK, message, rows, stored


@pytest.fixture
def audit(store: AuditStore) -> Path:
    """A store with two samples."""
    items = [stored(1, [message(1, {"p": 1.5, "on": True}, meta={"unit.p": "bar"})], 1)]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    return store.folder


def test_an_empty_store_has_its_tables(store: AuditStore) -> None:
    """Before the first message, queries give no rows, not an error, and the same types as later."""
    assert rows(store.folder, "SELECT * FROM messages") == []
    empty = rows(store.folder, "DESCRIBE samples")
    store.commit("UNS", "2026-11-21", tabulate("UNS", [stored(1, [message(1)], 1)], Marks()))
    assert rows(store.folder, "DESCRIBE samples") == empty


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        (
            "SELECT tag, value, unit, quality, rack FROM samples WHERE tag = 'p'",
            [("p", 1.5, "bar", "good", RACK)],
        ),
        ("SELECT (data->>'$.p')::DOUBLE FROM messages", [(1.5,)]),
        ("SELECT date_trunc('hour', ts)::VARCHAR FROM messages", [("2026-11-21 12:00:00",)]),
        ("SELECT count(*) FROM samples WHERE ts > now() - INTERVAL 100 YEAR", [(2,)]),
        ("SELECT epoch_ns(ts) % 10 FROM messages", [(1,)]),
        ("SELECT count(*) FROM messages WHERE date = '2026-11-21' AND project = 'default'", [(1,)]),
        ("SELECT count(*) FROM quarantine", [(0,)]),
    ],
)
def test_what_analysts_ask_has_an_answer(audit: Path, sql: str, answer: object) -> None:
    """Filters, JSON fields, time arithmetic and partitions work on the views."""
    assert rows(audit, sql) == answer


@pytest.mark.parametrize(
    "sql",
    [
        "COPY messages TO '{audit}/stolen.parquet'",
        "WITH x AS (COPY messages TO '{audit}/stolen.parquet') SELECT * FROM x",
        "SELECT * FROM query('WITH x AS (COPY messages TO ''{audit}/stolen.parquet'') SELECT * FROM x')",
        "EXPLAIN ANALYZE COPY messages TO '{audit}/stolen.parquet'",
        "SELECT 1; COPY messages TO '{audit}/stolen.parquet'",
        "EXPORT DATABASE '{audit}/stolen'",
        "ATTACH '{audit}/stolen.db'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_text('{audit}/../snake.token')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
        "SELECT * FROM glob('/etc/*')",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD '/tmp/x.duckdb_extension'",
        "CREATE TABLE t (i INTEGER)",
        "DROP VIEW messages",
        "",
    ],
)
def test_sql_reaches_nothing_but_the_audit_folder_and_changes_nothing(audit: Path, sql: str) -> None:
    """No statement writes, reads other files, opens a connection or loosens its own limits."""
    (audit.parent / "snake.token").write_text("secret")
    before = sorted(audit.rglob("*"))
    with pytest.raises(AuditError) as caught:
        rows(audit, sql.format(audit=audit))
    assert "\n" not in str(caught.value)
    assert sorted(audit.rglob("*")) == before


def test_python_variables_are_out_of_reach(audit: Path) -> None:
    """A name in SQL is a table, never a variable of the program."""
    secret = __import__("pyarrow").table({"x": [1]})
    assert secret.num_rows == 1
    with pytest.raises(AuditError, match="secret"):
        rows(audit, "SELECT * FROM secret")


def test_an_error_in_sql_is_one_line(audit: Path) -> None:
    """A typo is answered with what DuckDB knows, in one line."""
    with pytest.raises(AuditError, match=r"mesages.*messages"):
        rows(audit, "SELECT * FROM mesages")


def test_a_query_ends_at_its_time_limit(audit: Path) -> None:
    """A query without end is stopped, and says which option would let it go on."""
    sql = "SELECT count(*) FROM range(10000000) a(i), range(10000000) b(j) WHERE i * j = 7"
    with pytest.raises(AuditError, match="--timeout"), query(audit, sql, Limits(time_s=0.2)) as reader:
        reader.read_all()


def test_a_query_ends_at_its_memory_limit(audit: Path) -> None:
    """A query that needs more than it may have is stopped, and says which option gives more."""
    sql = "SELECT count(*) FROM (SELECT DISTINCT i FROM range(50000000) t(i))"
    limits = Limits(memory_mib=64, spill_mib=1)
    with pytest.raises(AuditError, match="--memory"), query(audit, sql, limits) as reader:
        reader.read_all()


def test_a_folder_that_is_no_store_is_named(tmp_path: Path) -> None:
    """A wrong --data is one clear error."""
    with pytest.raises(AuditError, match=r"no audit store at .*mixer up"):
        rows(tmp_path / "nothing", "SELECT 1")


def test_json_is_one_valid_array_of_objects(audit: Path) -> None:
    """Programs get valid JSON: times as RFC 3339, bytes as hex, no bare NaN."""
    sql = "SELECT ts, raw, 'nan'::DOUBLE AS n, sum(1::BIGINT) AS s, [1, 2] AS l FROM messages GROUP BY ALL"
    out = io.StringIO()
    with query(audit, sql) as reader:
        output.write_json(reader, out)
    ts = "2026-11-21T12:00:00.000000001Z"
    assert json.loads(out.getvalue()) == [{"ts": ts, "raw": None, "n": "NaN", "s": 1, "l": [1, 2]}]
    out = io.StringIO()
    with query(audit, "SELECT * FROM quarantine") as reader:
        output.write_json(reader, out)
    assert json.loads(out.getvalue()) == []


def test_csv_has_a_header_and_quotes(audit: Path) -> None:
    """CSV is what a spreadsheet reads back: header, quotes where needed, null as nothing."""
    out = io.StringIO()
    with query(audit, """SELECT 'a,"b' AS x, NULL AS y, ts FROM messages""") as reader:
        output.write_csv(reader, out)
    assert out.getvalue() == 'x,y,ts\n"a,""b",,2026-11-21 12:00:00.000000001\n'


def test_nothing_is_left_in_the_folder_for_temporary_files(
    audit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query cleans up behind itself, also after an error."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    rows(audit, "SELECT 1")
    with pytest.raises(AuditError):
        rows(audit, "SELECT nothing")
    assert os.listdir(scratch) == []  # noqa: PTH208
