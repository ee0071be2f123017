"""`fluxrig run`: run a Rack."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.logs import LogLevel, set_up_logs
from fluxrig.cli.options import seconds
from fluxrig.cli.signals import run_until_told


def run(
    file: Annotated[Path, typer.Argument(help="The Rack file.", show_default=False)],
    state: Annotated[
        Path | None,
        typer.Option(
            help="Where the Rack keeps its leaf's streams.",
            envvar="FLUXRIG_STATE",
            show_default="~/.local/state/fluxrig/RACK",
        ),
    ] = None,
    for_: Annotated[
        float | None,
        typer.Option(
            "--for",
            parser=seconds,
            metavar="DURATION",
            help="Stop after this long, such as 30s.",
            show_default="until its sources end or Ctrl-C",
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="DURATION", help="How long stopping may wait for what is under way."
        ),
    ] = "10s",  # type: ignore[assignment]
    flush: Annotated[
        float,
        typer.Option(
            parser=seconds,
            metavar="DURATION",
            help="How long stopping may wait for the Mixer to have it all.",
        ),
    ] = "10s",  # type: ignore[assignment]
    report: Annotated[
        Path | None,
        typer.Option(help="Keep a JSON report of the Rack's counters in this file.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    log_level: LogLevel = "info",
) -> None:
    """Run a Rack until its sources end or it is told to stop.

    SIGTERM or Ctrl-C drains: sources end, what they emitted is stored, the Mixer gets what it can. A second
    Ctrl-C stops at once; what the leaf has stored is safe either way.

    Where it is allowed (CAP_SYS_NICE, or LimitRTPRIO=1 in a systemd unit) the Rack goes before other work of
    the machine, so that polls are on time, until a gear keeps it busy for half a second without a pause.
    """
    from dataclasses import asdict

    from fluxrig.catalog import installed
    from fluxrig.rackfile import load
    from racks.rack import Limits, Rack

    set_up_logs(log_level)
    catalog = installed()
    spec = load(file, catalog, os.environ)
    rack = Rack(
        spec,
        catalog,
        state or default_state(spec.name),
        limits=Limits(drain, flush),
        report_file=report,
        goes_first=True,
    )
    result = run_until_told(rack.run, for_)
    if as_json:
        print_json(asdict(result))
    log = logging.getLogger("fluxrig.rack")
    if result.failed:
        log.error("stopped for good: %s", ", ".join(result.failed))
    if result.unsettled:
        log.error("%d batches were not settled: their messages are not stored", result.unsettled)
    if result.failed or result.unsettled:
        raise typer.Exit(1)


def default_state(rack: str) -> Path:
    """Where a Rack keeps its state when nothing else is said (XDG base directories)."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "fluxrig" / rack
