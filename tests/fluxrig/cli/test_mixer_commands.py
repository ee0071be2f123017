"""The `mixer` commands: what they print, how they end, and what they need."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluxrig.bus import Source, Stored, mark_of
from fluxrig.cli.console import run
from fluxrig.cli.mixer import app
from fluxrig.codec import encode
from fluxrig.message import TAGS, FluxMsg
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate

NOON_NS = 1_795_262_400_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with three messages."""
    store = AuditStore(tmp_path / "audit")
    messages = [
        FluxMsg(id=n.to_bytes(16), ts=NOON_NS + n, src="r/g", uns="a/b", schema=TAGS, data={"p": n / 2})
        for n in range(3)
    ]
    headers, source = {"Fluxrig-Rack": "r"}, Source(mark_of("r"), "fluxrig.uns.a")
    items = [
        Stored(n + 1, "fluxrig.uns.a.b", encode(one), headers, NOON_NS, source)
        for n, one in enumerate(messages)
    ]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    return tmp_path


def ask(data: Path, *options: str) -> int:
    return run(app, ["audit", "query", "--data", str(data), *options])


def test_query_prints_a_table_json_and_csv(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same rows for a person, a program and a spreadsheet; data on stdout, nothing on stderr."""
    sql = "SELECT tag, value FROM samples ORDER BY ts"
    assert ask(data, sql) == 0
    assert "0.5" in capsys.readouterr().out
    assert ask(data, "--json", sql) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"tag": "p", "value": n / 2} for n in range(3)]
    assert err == ""
    assert ask(data, "--csv", sql) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out)))[:2] == [["tag", "value"], ["p", "0.0"]]


def test_a_cut_table_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that leaves rows out says how to see them; one that is whole says nothing."""
    assert ask(data, "--rows", "2", "SELECT * FROM samples") == 0
    assert "only the first 2 rows" in capsys.readouterr().err
    assert ask(data, "--rows", "3", "SELECT * FROM samples") == 0
    assert capsys.readouterr().err == ""


def test_sql_comes_from_standard_input(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` reads the query from a pipe."""
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT count(*) AS n FROM messages"))
    assert ask(data, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 3}]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["SELEC 1"], 1),
        (["SELECT * FROM nothing"], 1),
        (["DROP VIEW messages"], 1),
        (["--timeout", "soon", "SELECT 1"], 2),
        (["--json", "--csv", "SELECT 1"], 2),
        ([], 2),
    ],
)
def test_a_wrong_query_is_one_error(
    data: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int
) -> None:
    """Wrong SQL fails with 1 and one line; wrong use with 2; neither prints data."""
    assert ask(data, *options) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    if code == 1:
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_status_of_a_folder_at_rest(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a Mixer, status says so by its exit code, and still counts what is stored."""
    assert run(app, ["status", "--data", str(data), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["running"] is False
    assert found["streams"][0]["rows"] == {"messages": 3, "samples": 3}
    assert run(app, ["status", "--data", str(data)]) == 1
    assert "not running" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--listen", "x"], ["--listen", "h:99999"], ["--sync", "often"]])
def test_up_refuses_wrong_options(data: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    """A wrong option is refused before anything starts."""
    assert run(app, ["up", "--data", str(data / "new"), *options]) == 2
    assert not (data / "new").exists()


def test_help_needs_no_extra() -> None:
    """`mixer --help` is quick, and works where duckdb, pyarrow and NATS are not even installed."""
    script = (
        "import sys\n"
        "for name in ('duckdb', 'pyarrow', 'nats'): sys.modules[name] = None\n"
        "from fluxrig.cli.mixer import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """On a Rack's installation, a query says what to install."""
    script = "import sys\nsys.modules['pyarrow'] = None\nfrom fluxrig.cli.mixer import main\nmain()"
    command = [sys.executable, "-c", script, "audit", "query", "--data", str(tmp_path), "SELECT 1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: pyarrow is not installed; run: pip install 'fluxrig[mixer]'\n"


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ctrl_c_ends_a_query(data: Path) -> None:
    """A query that would take for ever ends at once on Ctrl-C, and leaves no temporary files."""
    scratch = data / "tmp"
    scratch.mkdir()
    sql = "SELECT count(*) FROM range(10000000) a(i), range(10000000) b(j) WHERE i * j = 7"
    script = "from fluxrig.cli.mixer import main; main()"
    command = [sys.executable, "-c", script, "audit", "query", "--data", str(data), sql]
    with subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE, text=True
    ) as query:
        deadline = time.monotonic() + 30
        while cpu_seconds(query.pid) < 2 and time.monotonic() < deadline:  # it is in the midst of the query
            time.sleep(0.02)
        query.send_signal(signal.SIGINT)
        _, err = query.communicate(timeout=20)
    assert (query.returncode, err) == (130, "")
    assert not list(scratch.iterdir())
