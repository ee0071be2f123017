"""`fluxrig status`: how a Rack is, also while it runs."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.duration import format_about, format_duration
from fluxrig.size import format_size


def status(
    file: Annotated[
        Path | None,
        typer.Argument(help="The Rack file, for its Rack's usual state folder.", show_default=False),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="The Rack's state folder, as given to `fluxrig run`.",
            envvar="FLUXRIG_STATE",
            show_default="~/.local/state/fluxrig/RACK",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a Rack's link to the Mixer, its backlog, its store, its certificate and its gears.

    Exits 0 when it runs and all is well, and 1 when it does not run or has a problem: no contact with the
    Mixer, a store that takes nothing, dropped or lost messages, an ended certificate, a failed gear.
    """
    from racks.status import status as look

    found = look(state or _usual_state(file), time.time_ns())
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["problems"]:
        raise typer.Exit(1)


def _usual_state(file: Path | None) -> Path:
    from fluxrig.catalog import installed
    from fluxrig.cli.run import default_state
    from fluxrig.rackfile import load

    if file is None:
        raise typer.BadParameter("give the Rack file, or its --state folder")
    return default_state(load(file, installed(), os.environ, secrets=False).name)


def _print(found: dict[str, Any]) -> None:
    from rich import print as show
    from rich.table import Table

    runs = f"running (process {found['pid']}) since" if found["running"] else "not running; it ran from"
    print(f"Rack {found['rack']} for {found['uns']}: {runs} {_time(found['started_ns'])}")
    for name, text in (
        ("link", _link(found["link"])),
        ("backlog", _backlog(found["backlog"])),
        ("store", _store(found["store"])),
        ("certificate", _certificate(found["certificate"])),
    ):
        print(f"{name + ':':<13}{text}")
    gears = Table("gear", "state", "in", "out", "rejected", "dropped", "errors", "last error")
    for name, gear in found["gears"].items():
        counts = (str(gear[key]) for key in ("in", "out", "rejected", "dropped", "errors"))
        gears.add_row(name, gear["state"], *counts, gear["last_error"])
    show(gears)
    for problem in found["problems"]:
        print(f"! {problem}")


def _link(link: dict[str, Any] | None) -> str:
    if link is None:
        return "none: the Rack keeps its stream"
    said = f"{'up' if link['up'] else 'down'} since {_time(link['since_ns'])}, to {link['to']}"
    return f"{said}; {link['last_error']}" if link["last_error"] else said


def _backlog(backlog: dict[str, Any]) -> str:
    said = f"{backlog['messages']:,} messages, about {format_size(backlog['bytes'])}"
    age_s = backlog["oldest_age_s"]
    return said if age_s is None else f"{said}, the oldest {format_about(age_s)} old"


def _store(store: dict[str, Any]) -> str:
    limit = store["streams"].get("UNS", {}).get("limit", store["max_bytes"])
    parts = [
        f"{format_size(store['used'])} of {format_size(limit)}",
        f"when full: {store['when_full']}",
        f"max age: {format_duration(store['max_age_s']) if store['max_age_s'] else 'none'}",
        f"sync: {store['sync']}",
        f"{format_size(store['disk_free'])} free on the disk",
    ]
    if store["trouble"]:
        parts.append(f"last trouble: {store['trouble']}")
    return ", ".join(parts)


def _certificate(found: dict[str, Any] | None) -> str:
    if found is None:
        return "none"
    return found["fault"] or f"ends {found['ends']}, in {format_about(found['left_s'])}"


def _time(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}Z"
