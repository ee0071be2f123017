"""`fluxrig bench audit` measures what it says it measures."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fluxrig.bus import Source, Stored, mark_of
from fluxrig.cli import bench
from fluxrig.cli.bench.audit_path import ledger, slope
from fluxrig.cli.bench.codec import telemetry
from fluxrig.codec import encode_sequence
from fluxrig.uns import to_subject
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate

app = typer.Typer()
app.add_typer(bench.app, name="bench")


def test_writer_and_queries_are_measured(tmp_path: Path) -> None:
    """A real stream is written and a real folder is asked, verified and removed."""
    options = [
        "--seconds",
        "0",
        "--messages",
        "2000",
        "--rows",
        "73000",
        "--folder",
        str(tmp_path),
        "--json",
    ]
    result = CliRunner().invoke(app, ["bench", "audit", *options])
    found = json.loads(result.stdout)
    assert min(found["writer_msgs_per_s"], found["verify_msgs_per_s"]) > 0
    assert found["verify_ok"]
    assert found["cbor_bytes_per_row"] == pytest.approx(236, abs=2)
    assert set(found["query_ms"]) == {"tag_hour", "tag_year_hourly", "count_by_rack_day"}
    assert (found["samples"], found["samples_verify_ok"]) == (73_000, True)
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_counts_what_is_missing(tmp_path: Path) -> None:
    """A message that the source knows to be stored and that has no row is lost."""
    store = AuditStore(tmp_path / "audit")
    headers = {"Fluxrig-Rack": "rack-3", "Fluxrig-Leaf": "leaf-a", "Fluxrig-Seq": "0"}
    messages = [telemetry(number) for number in range(5)]
    subject = to_subject(messages[0].uns)
    source = Source(mark_of("rack-3"), subject)
    items = [Stored(1, subject, encode_sequence(messages), headers, 10**18, source)]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    journal = tmp_path / "journal"
    journal.write_text("1 0 4\n")
    found = ledger(store.folder, journal)
    assert found.pop("message_bytes") == pytest.approx(236, abs=2)
    assert found == {"messages": 5, "lost": 0, "duplicated": 0, "out_of_order": 0}
    journal.write_text("1 0 4\n1 5 6\n")
    assert ledger(store.folder, journal)["lost"] == 2


def test_the_slope_is_that_of_the_line() -> None:
    """A backlog that grows by three a second has the slope three."""
    assert slope([(0, 1), (1, 4), (2, 7)]) == pytest.approx(3)
    assert slope([(5, 7), (6, 7), (7, 7)]) == 0
