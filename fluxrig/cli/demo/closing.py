"""The end of the demo: what came of it, as a table, as SQL with its answers, and as JSON."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from fluxrig.cli.demo.evidence import QUESTIONS, Answer, ask
from fluxrig.cli.demo.ledger import Ledger

NEWEST = "SELECT ts, tag, value, unit FROM samples ORDER BY ts DESC LIMIT 5"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run."""

    ledger: Ledger
    polled_tags: int
    sniffed_transactions: int
    capture: str
    """`live` or `replay`."""
    outage_s: float
    folder: Path

    @property
    def audit(self) -> Path:
        return self.folder / "mixer" / "audit"

    @property
    def is_good(self) -> bool:
        """Whether something went each way, and all of it arrived."""
        return self.ledger.balances and self.polled_tags > 0 and self.sniffed_transactions > 0

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self.ledger),
            "polled_tags": self.polled_tags,
            "sniffed_transactions": self.sniffed_transactions,
            "capture": self.capture,
            "outage_s": round(self.outage_s, 1),
            "folder": str(self.folder),
            "files": [str(file) for file in sorted(self.audit.rglob("*.parquet"))],
        }


def show(console: Console, outcome: Outcome) -> None:
    """Print the ledger, the questions with their answers, and where to go from here."""
    console.print(f"\n[bold]The ledger[/bold], {outcome.outage_s:.1f} s of it without a hub", highlight=False)
    console.print(_ledger_table(outcome.ledger))
    for question in QUESTIONS:
        console.print(f"\n[bold]{question.title}[/bold]")
        console.print(Syntax(question.sql, "sql", theme="ansi_dark", background_color="default"))
        console.print(_answer_table(ask(outcome.audit, question.sql)))
    _show_way_on(console, outcome.folder)


def _ledger_table(ledger: Ledger) -> Table:
    table = Table("messages", "")
    table.columns[1].justify = "right"
    table.add_row("accepted by the Rack", f"{ledger.accepted:,}")
    table.add_row("stored in Parquet", f"{ledger.stored:,}")
    for name in ("lost", "duplicated", "out_of_order"):
        count = getattr(ledger, name)
        table.add_row(name.replace("_", " "), f"{count:,}", style="bold red" if count else "green")
    return table


def _answer_table(answer: Answer) -> Table:
    table = Table(*answer.columns)
    for column, value in zip(table.columns, answer.rows[0] if answer.rows else (), strict=False):
        column.justify = "right" if isinstance(value, int | float) else "left"
    for row in answer.rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    return table


def _show_way_on(console: Console, folder: Path) -> None:
    console.print("\n[bold]Where it all is[/bold]")
    for name, what in (
        ("mixer/audit", "Parquet files, for any reader of Parquet"),
        ("demo.yaml", "the Rack file"),
        ("logs", "what each process had to say"),
    ):
        console.print(f"  {folder / name}  {what}", highlight=False, soft_wrap=True)
    console.print("\n[bold]What to try next[/bold]")
    for command in (
        (_script("mixer"), "audit", "query", "--data", folder / "mixer", NEWEST),
        (_script("fluxrig"), "graph", folder / "demo.yaml"),
        (_script("fluxrig"), "gears"),
        ("rm", "-r", folder),
    ):
        console.print(f"  {shlex.join(map(str, command))}", highlight=False, soft_wrap=True)


def _script(name: str) -> str:
    """Give what to type for a console script: its name if PATH finds this one, else where it is."""
    beside = Path(sys.executable).with_name(name)
    return name if shutil.which(name) == str(beside) else os.path.relpath(beside)
