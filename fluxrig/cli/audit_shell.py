"""`mixer audit sql`: a shell over the audit store, with a history."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from fluxrig.errors import AuditError

if TYPE_CHECKING:
    from mixer.audit.query import Limits

_HISTORY: Final = 1000
_HELP: Final = """\
A query is one SELECT and ends with ;  It may take several lines.
.tables   the tables and their columns
.help     this
.quit     leave, as Ctrl-D does; Ctrl-C ends a query or forgets what was typed"""


class Shell:
    """Reads queries, shows answers. Each query sees all that is committed when it starts."""

    def __init__(self, audit: Path | str, limits: Limits, rows: int) -> None:
        self._audit = audit
        self._limits = limits
        self._rows = rows

    def run(self) -> None:
        """Read until the end of input."""
        from mixer.audit.source import source

        if not source(self._audit).exists():
            raise AuditError(f"there is no audit store at {self._audit}; give the Mixer's --data folder")
        with suppress(ImportError):  # a Python without readline has no history, and all else
            _remember(history_path())
        lines: list[str] = []
        while True:
            try:
                line = input("   ...> " if lines else "audit> ")
            except EOFError:
                return
            except KeyboardInterrupt:
                typer.echo()
                lines = []
                continue
            if not lines and line.strip() in (".quit", ".exit"):
                return
            lines = self._take([*lines, line])

    def _take(self, lines: list[str]) -> list[str]:
        """Do what the lines ask for; give what is still to be completed."""
        text = "\n".join(lines).strip()
        if text.startswith("."):
            self._command(text)
        elif text.endswith(";"):
            self._ask(text)
        elif text:
            return lines
        return []

    def _command(self, text: str) -> None:
        if text == ".tables":
            self._ask(
                "SELECT table_name, string_agg(column_name, ', ' ORDER BY column_index) AS columns"
                " FROM duckdb_columns() WHERE NOT internal GROUP BY table_name ORDER BY table_name"
            )
        else:
            typer.echo(_HELP if text == ".help" else f"{text} is no command; .help lists them")

    def _ask(self, sql: str) -> None:
        from rich.console import Console

        from mixer.audit.output import print_table
        from mixer.audit.query import query

        try:
            with query(self._audit, sql, self._limits) as reader:
                if print_table(reader, Console(), self._rows):
                    typer.echo(f"only the first {self._rows} rows", err=True)
        except AuditError as error:
            typer.echo(f"error: {error}", err=True)
        except KeyboardInterrupt:
            typer.echo("ended", err=True)


def history_path() -> Path:
    """Where the history is kept (XDG base directories)."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "fluxrig" / "sql_history"


def _remember(path: Path) -> None:
    import atexit
    import readline

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    readline.read_history_file(path)
    readline.set_history_length(_HISTORY)
    atexit.register(readline.write_history_file, path)
