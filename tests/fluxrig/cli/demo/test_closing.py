"""The demo's result says what happened, to a reader and to a program, and fails when it should."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fluxrig.cli.demo import closing, evidence
from fluxrig.cli.demo.closing import Outcome
from fluxrig.cli.demo.evidence import Answer
from fluxrig.cli.demo.ledger import Ledger

GOOD = Outcome(
    ledger=Ledger(accepted=1234, stored=1234, lost=0, duplicated=0, out_of_order=0),
    polled_tags=700,
    sniffed_transactions=400,
    capture="replay",
    outage_s=2.04,
    folder=Path("/demo"),
)


def test_a_balanced_run_is_good() -> None:
    """Both ways carried something, and all of it arrived once and in order."""
    assert GOOD.is_good


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, ledger=replace(GOOD.ledger, lost=1)),
        replace(GOOD, ledger=replace(GOOD.ledger, duplicated=1)),
        replace(GOOD, ledger=replace(GOOD.ledger, out_of_order=1)),
        replace(GOOD, ledger=replace(GOOD.ledger, stored=1235)),
        replace(GOOD, polled_tags=0),
        replace(GOOD, sniffed_transactions=0),
    ],
)
def test_any_fault_makes_it_fail(bad: Outcome) -> None:
    """Each kind of fault, and a way that carried nothing, is a failure."""
    assert not bad.is_good


def test_json_has_the_promised_fields(tmp_path: Path) -> None:
    """Programs find the ledger, both ways, how it was captured, and the files."""
    file = tmp_path / "mixer/audit/messages/project=default/date=2026-01-01/1.parquet"
    file.parent.mkdir(parents=True)
    file.touch()
    assert replace(GOOD, folder=tmp_path).as_json() == {
        "accepted": 1234,
        "stored": 1234,
        "lost": 0,
        "duplicated": 0,
        "out_of_order": 0,
        "polled_tags": 700,
        "sniffed_transactions": 400,
        "capture": "replay",
        "outage_s": 2.0,
        "folder": str(tmp_path),
        "files": [str(file)],
    }


def test_a_reader_sees_the_ledger_the_sql_and_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, each question with its SQL and rows, and commands to try stand on the screen."""
    monkeypatch.setattr(
        closing, "ask", lambda audit, sql: Answer(["tag", "mean"], [("pressure", 5.5), ("x", None)])
    )
    console = Console(file=io.StringIO(), width=100)
    closing.show(console, GOOD)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for shown in (
        "1,234",
        "out of order",
        "FROM samples",
        "pressure",
        "/demo/mixer/audit",
        "mixer audit query",
    ):
        assert shown in text
    assert all(question.title in text for question in evidence.QUESTIONS)
