"""`fluxrig bench audit`: how fast messages become verified Parquet, and how fast that answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json


def audit(
    seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="How long to run the whole path; 0 leaves it out.")
    ] = 60.0,
    rate: Annotated[str, typer.Option(help="Messages a second that the source makes, or max.")] = "max",
    messages: Annotated[
        int, typer.Option(min=0, help="How many messages the writer alone has to write; 0 leaves it out.")
    ] = 1_000_000,
    rows: Annotated[
        int, typer.Option(min=0, help="Over how many samples to query; 0 leaves that out.")
    ] = 10_000_000,
    sync: Annotated[
        str, typer.Option(help="When the hub's stream is on disk: always, or an interval.")
    ] = "always",
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to put the data.", file_okay=False, show_default="the temporary folder"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the audit store on this machine, with real processes, streams and files.

    The whole path: simulate, uplink, leaf, hub, committed Parquet, and a ledger of what was lost, doubled or
    out of order. The writer alone: from a full stream. Queries: over a year of samples. All data is removed.
    """
    from fluxrig.cli.audit import progress
    from fluxrig.cli.bench import audit_path, audit_queries, audit_writer

    found: dict[str, Any] = {}
    with TemporaryDirectory(prefix="fluxrig-bench-", dir=folder) as scratch:
        place = Path(scratch)
        for name in ("path", "writer", "queries"):
            (place / name).mkdir()
        if seconds:
            found |= audit_path.measure(place / "path", seconds, rate, sync)
        if messages:
            found |= asyncio.run(audit_writer.measure(place / "writer", messages))
        if rows:
            with progress("samples") as advance:
                found |= audit_queries.measure(place / "queries", rows, advance)
    if as_json:
        print_json(found)
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            typer.echo(f"{name.replace('_', ' ')}:")
            for part, figure in value.items():
                typer.echo(f"  {part:28} {figure:>12,}")
        else:
            shown = f"{value:,}" if isinstance(value, int | float) else str(value)
            typer.echo(f"{name.replace('_', ' '):30} {shown:>12}")
    shares = found.get("cpu_share", {})
    ours = {name: share for name, share in shares.items() if name not in {"others", "idle"}}
    if ours:
        busiest = max(ours, key=lambda name: ours[name])
        typer.echo(
            f"busiest: {busiest} with {ours[busiest]:.2f} of a core; all {sum(ours.values()):.2f} cores"
        )
