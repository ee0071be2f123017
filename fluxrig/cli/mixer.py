"""The console script `mixer`: what operators and analysts use."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fluxrig.cli import audit, backup, console, join_token, project, racks
from fluxrig.cli.audit import DataOption, folder
from fluxrig.cli.audit_ledger import ledger
from fluxrig.cli.console import JsonOption, VersionOption, print_json
from fluxrig.cli.external_nats import (
    AccountKeyOption,
    CredsOption,
    LeafCaOption,
    LeafOption,
    NatsCaOption,
    NatsOption,
    ReplicasOption,
    external,
)
from fluxrig.cli.live import live
from fluxrig.cli.logs import LogLevel, set_up_logs
from fluxrig.cli.options import seconds
from fluxrig.cli.signals import run_until_told

app = typer.Typer(
    name="mixer",
    help="The centre of fluxrig: takes what the Racks send, keeps it in Parquet, answers SQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
audit.app.command()(ledger)
app.add_typer(audit.app, name="audit")
app.add_typer(racks.app, name="racks")
app.add_typer(join_token.app, name="join-token")
app.add_typer(project.app, name="project")
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(live)


@app.callback()
def _options(version: VersionOption = False) -> None:
    pass


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT, such as 0.0.0.0:7422")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:7422` is asked for by the user


@app.command()
def up(
    context: typer.Context,
    data: DataOption = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where Racks dial in; port 0 takes a free one.")
    ] = "127.0.0.1:7422",
    enrol: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Where Racks enrol; port 0 takes a free one.",
            show_default="HOST:7423, or any port when --listen has 0",
        ),
    ] = "",
    advertise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name or address by which Racks reach this machine; the first is put into join tokens. "
            "May be given again.",
            show_default="the host of --listen, or this machine's name",
        ),
    ] = None,
    certificate_life: Annotated[
        float,
        typer.Option(
            parser=seconds,
            metavar="DURATION",
            help="How long a Rack's certificate lasts; renewed at half of it.",
        ),
    ] = "24h",  # type: ignore[assignment]
    client_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The hub's own port, on loopback; 0 takes a free one.")
    ] = 0,
    commit_every: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="DURATION", help="The longest that a message waits for its row."
        ),
    ] = "5s",  # type: ignore[assignment]
    commit_rows: Annotated[int, typer.Option(min=1, help="Commit earlier at so many rows.")] = 200_000,
    audit: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Keep the audit in a bucket, such as s3://bucket/prefix?region=eu-west-1, not in the data "
            "folder. It is remembered.",
        ),
    ] = "",
    spool: Annotated[
        int, typer.Option(min=1, metavar="MIB", help="What may wait on the disk while the bucket is away.")
    ] = 4096,
    partition: Annotated[
        Literal["day", "hour"],
        typer.Option(help="What a partition of the audit is; hours pay from some 50 GB a day on."),
    ] = "day",
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What is kept for how long, and when small files are merged.",
            exists=True,
            dir_okay=False,
            show_default="policy.yaml in the data folder, if it is there",
        ),
    ] = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another Mixer has the data folder, and follow it.")
    ] = False,
    sync: Annotated[
        str,
        typer.Option(help="When the hub's streams reach the disk: always, or an interval such as 1s."),
    ] = "always",
    nats: NatsOption = "",
    creds: CredsOption = None,
    account_key: AccountKeyOption = None,
    nats_ca: NatsCaOption = None,
    leaf: LeafOption = None,
    leaf_ca: LeafCaOption = None,
    replicas: ReplicasOption = None,
    as_json: JsonOption = False,
    log_level: LogLevel = "info",
) -> None:
    """Run the Mixer until it is told to stop.

    SIGTERM or Ctrl-C commits what is held; a second Ctrl-C stops at once, and nothing is lost by that.
    With --json the first line on stdout says that Racks can dial in, and where. With --nats the streams are
    on servers that are there already (docs/external-nats.md), and Racks dial these.
    """
    from mixer.audit.writer import Roll
    from mixer.home import Keeping
    from mixer.policy import NAME, Policy
    from mixer.service import ENROL_PORT, Mixer, Options

    set_up_logs(log_level)
    if sync != "always":
        seconds(sync)
    host, port = _address(listen)
    roll = Roll(rows=commit_rows, age_s=commit_every, hourly=partition == "hour")
    place = folder(data)
    rules = policy or (named if (named := place.path / NAME).exists() else None)
    keeping = Keeping(
        url=audit,
        spool_bytes=spool << 20,
        standby=standby,
        hourly=partition == "hour",
        policy=Policy.load(rules) if rules else Policy(),
    )
    outside = external(
        context,
        nats,
        creds,
        account_key=account_key,
        nats_ca=nats_ca,
        leaves=leaf,
        leaf_ca=leaf_ca,
        replicas=replicas,
    )
    enrol_host, enrol_port = _address(enrol) if enrol else (host, ENROL_PORT if port else 0)
    options = Options(
        host=host,
        port=port,
        enrol_host=enrol_host,
        enrol_port=enrol_port,
        advertise=tuple(advertise or ()),
        certificate_life_s=certificate_life,
        client_port=client_port,
        roll=roll,
        sync=sync,
        external=outside,
        keeping=keeping,
    )
    mixer = Mixer(place, options)

    def ready(where: dict[str, Any]) -> None:
        if as_json:
            print_json(where)
            sys.stdout.flush()

    run_until_told(lambda stop: mixer.run(stop, ready))


@app.command()
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show the Racks, and how far the audit store is. Exits 1 when no Mixer runs on the folder."""
    from mixer.status import status as ask

    found = asyncio.run(ask(folder(data)))
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
        hub = found["hub"]
        more = f"restarts {hub['restarts']}" if "restarts" in hub else _external(hub)
        print(f"hub:   Racks dial in at {hub['listening']}, enrol at {hub['enrol']}; {more}")
    racks = Table("project", "Rack", "UNS", "state", "version", "last seen")
    for rack in found["racks"]:
        seen = datetime.fromtimestamp(rack["last_seen_ns"] / 1e9, UTC)
        last = f"{seen:%Y-%m-%d %H:%M:%S}Z" if rack["last_seen_ns"] else "never"
        racks.add_row(*(rack[name] for name in ("project", "rack", "uns", "state", "version")), last)
    streams = Table(
        "project", "stream", "backlog", "messages", "samples", "quarantine", "files", "MiB", "trouble"
    )
    for one in found["streams"]:
        rows = (str(one["rows"].get(name, 0)) for name in ("messages", "samples", "quarantine"))
        size = f"{one['bytes'] / 2**20:.1f}"
        backlog = str(one.get("backlog", "unknown"))
        streams.add_row(
            one["project"], one["stream"], backlog, *rows, str(one["files"]), size, one.get("trouble", "")
        )
    show(racks, streams)


def _external(hub: dict[str, Any]) -> str:
    state = "connected" if hub["connected"] else "away"
    return f"streams on {hub['nats']} ({state}), replicas {hub['replicas']}"


def main() -> None:
    """Run the command line and exit."""
    sys.exit(console.run(app))
