"""What all commands of both console scripts share: exit codes, how errors look, `--json`, `--version`.

Exit codes: 0 done, 1 it ran and failed, 2 wrong use or configuration, 130 ended by Ctrl-C.
Data goes to stdout, everything else to stderr. Set FLUXRIG_DEBUG=1 to see the traceback of an error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from fluxrig.cli.rooms import check_rooms
from fluxrig.errors import ConfigError, FluxrigError

EXTRAS: Final = {"duckdb": "mixer", "pyarrow": "mixer"}
"""Which extra of the distribution brings a package that a plain installation lacks."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fluxrig {version('fluxrig')}")
        raise typer.Exit


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
VersionOption = Annotated[
    bool,
    typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
]


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def print_error(message: str) -> None:
    """Print one line on stderr, or several where the message lists faults."""
    typer.echo(f"error: {message}", err=True)


def run(app: typer.Typer, argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: `sys.argv`) and give its exit code; every error becomes one line."""
    try:
        check_rooms()
        typer.main.get_command(app)(args=None if argv is None else list(argv))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the rim: a person gets a line that says what to do
        return report(error)
    return 0


def report(error: Exception) -> int:
    """Print what went wrong and give the exit code that says which kind it was."""
    if os.environ.get("FLUXRIG_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, ConfigError):
        typer.echo(str(error), err=True)
        return 2
    print_error(describe(error))
    return 1


def describe(error: Exception) -> str:
    """Say in one line what happened and, where it is known, what to do."""
    if isinstance(error, FluxrigError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRAS:
        extra = EXTRAS[(error.name or "").partition(".")[0]]
        return f"{error.name} is not installed; run: pip install 'fluxrig[{extra}]'"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    summary = " ".join(f"{type(error).__name__}: {error}".split())
    return f"internal error, please report it ({summary}); FLUXRIG_DEBUG=1 shows where"
