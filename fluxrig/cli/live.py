"""`mixer live`: what is true now, past any backlog."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fluxrig.cli.audit import DataOption, folder
from fluxrig.cli.console import JsonOption, print_json
from fluxrig.errors import FluxrigError


def live(
    uns: Annotated[
        str, typer.Argument(metavar="[UNS]", help="Only assets at and below this path.", show_default=False)
    ] = "",
    project: Annotated[str, typer.Option(metavar="NAME", help="The project to look into.")] = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest message of each asset, its age, and how far the audit is behind it.

    Racks send the newest of each asset at most once a second, past what waits in their stores: after
    an outage it is there seconds after the link, however much the audit is behind. On a line that a backlog
    fills it comes as late as what is under way before it. It is for people to look at: what is exact and
    complete is in the audit, in order.
    """
    found = asyncio.run(_ask(folder(data), uns, project))
    if as_json:
        print_json(found)
        return
    from rich import print as show
    from rich.table import Table

    table = Table("UNS", "Rack", "time", "age", "audit behind", "values")
    for one in found["assets"]:
        time = datetime.fromtimestamp(one["ts_ns"] / 1e9, UTC)
        behind = one["audit_behind_s"]
        values = ", ".join(f"{tag}={_short(value)}" for tag, value in one["data"].items())
        told = "unknown" if behind is None else f"{behind:.0f} s"
        table.add_row(one["uns"], one["rack"], f"{time:%H:%M:%S.%f}Z", f"{one['age_s']:.1f} s", told, values)
    show(table)
    if found["left_out"]:
        typer.echo(f"and {found['left_out']} more; give a UNS path")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


async def _ask(folder: Any, uns: str, project: str) -> dict[str, Any]:
    from mixer.live import ask

    found = await ask(folder, uns, project)
    if found is None:
        raise FluxrigError(
            f"no Mixer runs on {folder.path}; start it with `mixer up`, or give its --data folder"
        )
    return found
