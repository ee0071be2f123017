"""`mixer racks`: who is let in, and who is not."""

from __future__ import annotations

import asyncio
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fluxrig.cli.audit import DataOption, folder
from fluxrig.cli.console import JsonOption, print_json

app = typer.Typer(help="The Racks: who is let in, and who is not.", no_args_is_help=True)

RackArgument = Annotated[str, typer.Argument(help="The Rack's name.", show_default=False)]
ProjectOption = Annotated[str, typer.Option(help="The project that the Rack is in.")]
ReasonOption = Annotated[
    str, typer.Option(help="Why; the Rack hears it, and it is kept.", show_default=False)
]

_IMPORTANT = ("rack", "project", "state", "uns", "key", "asked_key", "reason", "address", "version")


@app.command("list")
def list_(
    project: Annotated[
        str, typer.Option(help="Only the Racks of one project.", show_default="all projects")
    ] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all Racks with their states; those that wait for approval with their keys."""
    racks = order(data, verb="list", project=project)
    if as_json:
        print_json(racks)
        return
    from rich import print as show
    from rich.table import Column, Table

    names = ("state", "UNS", "last seen", "backlog", "clock", "version", "certificate")
    table = Table(Column("Rack", no_wrap=True), *(Column(name, overflow="fold") for name in names))
    for rack in racks:
        table.add_row(*_row(rack))
    show(table)
    for rack in racks:
        if rack["asked"]:
            name, project = rack["rack"], _of(rack["project"])
            print(f"Rack {name} asks from {rack['asked']['address']} with key {rack['asked_key']}")
            print(f"  to let it in: mixer racks approve {name}{project}")


@app.command()
def show(
    rack: RackArgument,
    project: ProjectOption = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of a Rack."""
    found = order(data, verb="show", rack=rack, project=project)
    if as_json:
        print_json(found)
        return
    for name in _IMPORTANT:
        if found[name]:
            print(f"{name.replace('_', ' ')}: {found[name]}")
    if found["decided_ns"]:
        print(f"decided: {_time(found['decided_ns'] / 1e9)} by {found['decided_by']}")
    print(f"last seen: {_time(found['last_seen_ns'] / 1e9)}")
    print(f"certificate ends: {_time(found['certificate_end_s'])}")
    for one in found["retired"]:
        print(f"keys {one['why']}: {_time(one['at_ns'] / 1e9)}")


@app.command()
def approve(
    rack: RackArgument,
    key: Annotated[
        str,
        typer.Option(help="The key that the Rack shows; refuse if another one waits.", show_default=False),
    ] = "",
    project: ProjectOption = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let in a Rack that waits.

    Compare its key with the one that `fluxrig enroll` shows on the Rack, or have it compared by --key.
    """
    _done(order(data, verb="approve", rack=rack, project=project, key=key), as_json)


@app.command()
def reject(
    rack: RackArgument,
    reason: ReasonOption = "",
    project: ProjectOption = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn down a Rack that waits. Its keys are not taken again."""
    _done(order(data, verb="reject", rack=rack, project=project, reason=reason), as_json)


@app.command()
def suspend(
    rack: RackArgument,
    reason: ReasonOption = "",
    project: ProjectOption = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut a Rack off until it is resumed. It keeps what it reads, and sends it then."""
    _done(order(data, verb="suspend", rack=rack, project=project, reason=reason), as_json)


@app.command()
def resume(
    rack: RackArgument,
    project: ProjectOption = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a suspended Rack in again."""
    _done(order(data, verb="resume", rack=rack, project=project), as_json)


@app.command()
def revoke(
    rack: RackArgument,
    reason: ReasonOption = "",
    project: ProjectOption = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut a Rack off for good. Its keys are never taken again.

    To let it in later, make a join token with `mixer join-token create --rack NAME`, and on the Rack run
    `fluxrig enroll TOKEN --new-keys`.
    """
    _done(order(data, verb="revoke", rack=rack, project=project, reason=reason), as_json)


def order(data: Path | None, **fields: Any) -> Any:
    """Have the running Mixer do something, in this user's name."""
    from mixer.enrolment.client import ask

    return asyncio.run(ask(folder(data), {"by": getpass.getuser(), **fields}))


def _row(rack: dict[str, Any]) -> list[str]:
    health, state, told = rack["health"], rack["state"], rack["asked"] or rack
    if rack["asked"] and state != "pending":
        state = f"{state}, asks with new keys"
    seen = "now" if health.get("online") else _time(rack["last_seen_ns"] / 1e9)
    offset_ms = health.get("clock_offset_ms")
    # + 0.0 makes 0.0 of -0.0
    clock = "" if offset_ms is None else f"{round(offset_ms / 1000, 1) + 0.0:+.1f} s"
    numbers = (seen, str(health.get("backlog", "")), clock)
    name = rack["rack"] if rack["project"] == "default" else f"{rack['project']}/{rack['rack']}"
    return [name, state, rack["uns"], *numbers, told["version"], _ends(rack)]


def _ends(rack: dict[str, Any]) -> str:
    return _time(rack["certificate_end_s"]) if rack["certificate_end_s"] else ""


def _of(project: str) -> str:
    return "" if project == "default" else f" --project {project}"


def _done(rack: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(rack)
    else:
        print(f"Rack {rack['rack']} is {rack['state']}")


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}" if seconds else "never"
