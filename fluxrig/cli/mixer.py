"""The console script `mixer`: what operators and analysts use."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli import console
from fluxrig.cli.console import JsonOption, VersionOption, print_json
from fluxrig.cli.logs import LogLevel, set_up_logs
from fluxrig.cli.options import seconds
from fluxrig.cli.signals import until_told

if TYPE_CHECKING:
    from mixer.folder import Folder

app = typer.Typer(
    name="mixer",
    help="The centre of fluxrig: takes what the Racks send, keeps it in Parquet, answers SQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
audit = typer.Typer(help="The audit store: every message as a row of Parquet.", no_args_is_help=True)
app.add_typer(audit, name="audit")

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The Mixer's data folder.",
        envvar="FLUXRIG_MIXER_DATA",
        file_okay=False,
        show_default="~/.local/share/fluxrig/mixer",
    ),
]


@app.callback()
def _options(version: VersionOption = False) -> None:
    pass


def _folder(data: Path | None) -> Folder:
    from mixer.folder import Folder, default_path

    return Folder(data or default_path())


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT, such as 0.0.0.0:7422")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:7422` is asked for by the user


@app.command()
def up(
    data: DataOption = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where Racks dial in; port 0 takes a free one.")
    ] = "127.0.0.1:7422",
    client_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The hub's own port, on loopback; 0 takes a free one.")
    ] = 0,
    commit_every: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="DURATION", help="The longest that a message waits for its row."
        ),
    ] = "5s",  # type: ignore[assignment]
    commit_rows: Annotated[int, typer.Option(min=1, help="Commit earlier at so many rows.")] = 500_000,
    sync: Annotated[
        str,
        typer.Option(help="When the hub's streams reach the disk: always, or an interval such as 1s."),
    ] = "always",
    as_json: JsonOption = False,
    log_level: LogLevel = "info",
) -> None:
    """Run the Mixer until it is told to stop.

    SIGTERM or Ctrl-C commits what is held; a second Ctrl-C stops at once, and nothing is lost by that.
    With --json the first line on stdout says that Racks can dial in, and where.
    """
    from mixer.audit.writer import Roll
    from mixer.service import Mixer, Options

    set_up_logs(log_level)
    if sync != "always":
        seconds(sync)
    host, port = _address(listen)
    roll = Roll(rows=commit_rows, age_s=commit_every)
    mixer = Mixer(_folder(data), Options(host, port, client_port, roll, sync))

    def ready(where: dict[str, Any]) -> None:
        if as_json:
            print_json(where)
            sys.stdout.flush()

    asyncio.run(until_told(lambda stop: mixer.run(stop, ready)))


@app.command()
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show the Racks, and how far the audit store is. Exits 1 when no Mixer runs on the folder."""
    from mixer.status import status as ask

    found = asyncio.run(ask(_folder(data)))
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    if not found["running"]:
        raise typer.Exit(1)


def _print_status(found: dict[str, Any]) -> None:
    from rich import print as show
    from rich.table import Table

    state = (
        f"running (process {found['pid']})" if found["running"] else "not running; start it with `mixer up`"
    )
    print(f"Mixer on {found['data']}: {state}")
    if found["running"]:
        print(f"hub:   Racks dial in at {found['hub']['listening']}; restarts {found['hub']['restarts']}")
    racks = Table("Rack", "UNS", "version", "last seen")
    for rack in found["racks"]:
        seen = datetime.fromtimestamp(rack["last_seen_ns"] / 1e9, UTC)
        racks.add_row(rack["rack"], rack["uns"], rack["version"], f"{seen:%Y-%m-%d %H:%M:%S}Z")
    streams = Table("stream", "backlog", "messages", "samples", "quarantine", "files", "MiB", "trouble")
    for one in found["streams"]:
        rows = (str(one["rows"].get(name, 0)) for name in ("messages", "samples", "quarantine"))
        size = f"{one['bytes'] / 2**20:.1f}"
        backlog = str(one.get("backlog", "unknown"))
        streams.add_row(one["stream"], backlog, *rows, str(one["files"]), size, one.get("trouble", ""))
    show(racks, streams)


@audit.command()
def query(
    sql: Annotated[
        str, typer.Argument(help="One SELECT; - reads it from standard input.", show_default=False)
    ],
    data: DataOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="The most rows that a table shows.")] = 100,
    memory: Annotated[int, typer.Option(min=64, help="The most memory to use, in MiB.")] = 1024,
    timeout: Annotated[
        float, typer.Option(parser=seconds, metavar="DURATION", help="The longest to wait for the answer.")
    ] = "5m",  # type: ignore[assignment]
) -> None:
    """Ask the audit store in SQL (DuckDB), also while the Mixer writes.

    Tables: messages (one row a message), samples (one row a tag value), quarantine (what could not be
    decoded). DESCRIBE messages shows the columns. Times are in UTC.
    """
    from mixer.audit.query import Limits
    from mixer.audit.query import query as run

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    text = sys.stdin.read() if sql == "-" else sql
    with run(_folder(data).audit, text, Limits(memory_mib=memory, time_s=timeout)) as reader:
        _print_rows(reader, as_json, as_csv, rows)


def _print_rows(reader: Any, as_json: bool, as_csv: bool, max_rows: int) -> None:
    from rich.console import Console

    from mixer.audit import output

    if as_json:
        output.write_json(reader, sys.stdout)
    elif as_csv:
        output.write_csv(reader, sys.stdout)
    elif output.print_table(reader, Console(), max_rows):
        typer.echo(f"only the first {max_rows} rows; --rows shows more, --json and --csv give all", err=True)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(console.run(app))
