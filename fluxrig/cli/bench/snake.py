"""`fluxrig bench snake`: what the link from Rack to Mixer takes, and how fast it makes up for an outage."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.options import seconds as duration
from fluxrig.errors import FluxrigError


def snake(
    as_json: JsonOption = False,
    seconds: Annotated[
        float,
        typer.Option(
            min=1, max=600, help="How long to send under each load, and how long the hub is away each time."
        ),
    ] = 10.0,
    racks: Annotated[
        int, typer.Option(min=0, max=200, help="How many Racks lose their hub together; 0 leaves it out.")
    ] = 50,
    batch: Annotated[
        int, typer.Option(min=1, max=8192, help="Messages that the uplink has at hand at a time.")
    ] = 1000,
    assets: Annotated[
        int, typer.Option(min=1, max=1000, help="Over how many assets they are spread: a parcel for each.")
    ] = 1,
    sync: Annotated[
        str, typer.Option(help="When streams are on disk, on both ends: always, or an interval.")
    ] = "always",
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where to put the data.",
            exists=True,
            file_okay=False,
            writable=True,
            show_default="the temporary folder",
        ),
    ] = None,
) -> None:
    """Measure the Snake on this machine: real servers, mutual TLS, logins answered as a Mixer does.

    live_msgs_per_s: what one Rack gets into the hub's stream, encoded, stored on the leaf and sourced, when
    it sends all it can. catch_up_msgs_per_s: the hub is killed, the Rack goes on in the same way, then stops;
    how fast the hub gets what it missed, from the first parcel of it to the last. catch_up_ratio is the
    second by the first, back_after_s how long after the hub was up the first parcel came. With few messages
    in a parcel (--batch, --assets) both are bound by how often the disk syncs, so the ratio comes near one;
    --sync 1s shows them without that.

    latency_ms: from stored on the leaf to stored at the hub, one parcel of ten messages every 10 ms.
    bytes_per_msg: on the wire, both ways and with TLS, plain and with the compression that Racks use.
    leaf_rss_mib, hub_rss_mib: the most that each nats-server had under these loads. racks_caught_up_s: from
    when the hub is up again until it has the 2,000 messages that each Rack stored meanwhile, 100 at a time.

    Every message is accounted for: one that is lost, doubled or out of order ends it with exit code 1.
    """
    from fluxrig.cli.bench.snake_run import Plan

    if sync != "always":
        duration(sync)
    if not Path("/proc/self/statm").exists():
        raise FluxrigError("the benchmark reads memory from /proc, which only Linux has")
    # A benchmark that is told to end stops its servers as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    found = _run(Plan(seconds, racks, batch, assets, sync), folder)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _run(plan: Any, folder: Path | None) -> dict[str, Any]:
    from rich.console import Console

    from fluxrig.cli.bench.snake_run import measure

    logging.getLogger("fluxrig").setLevel(logging.ERROR)  # servers are killed on purpose
    with (
        TemporaryDirectory(prefix="fluxrig-bench-", dir=folder) as scratch,
        Console(stderr=True).status("the Snake") as status,
    ):
        return asyncio.run(measure(Path(scratch), plan, status.update))


def _show(found: dict[str, Any]) -> None:
    latency = found["latency_ms"]
    typer.echo(f"live        {found['live_msgs_per_s']:>10,} messages/s from one Rack into the hub's stream")
    typer.echo(
        f"catch-up    {found['catch_up_msgs_per_s']:>10,} messages/s after an outage:"
        f" {found['catch_up_ratio']:.1f} times live"
    )
    typer.echo(
        f"            {found['backlog_msgs']:>10,} messages had waited; the first came"
        f" {found['back_after_s']:.1f} s after the hub was up"
    )
    typer.echo(
        f"latency     {latency['p50']:>10.2f} ms p50, {latency['p99']:.2f} ms p99, leaf to hub,"
        f" at {found['latency_at_msgs_per_s']:,} messages/s"
    )
    typer.echo(
        f"wire        {found['bytes_per_msg_compressed']:>10.1f} bytes a message with {found['compression']},"
        f" {found['bytes_per_msg']:.1f} plain"
    )
    typer.echo(
        f"memory      {found['leaf_rss_mib']:>10.0f} MiB of the leaf,"
        f" {found['hub_rss_mib']:.0f} MiB of the hub"
    )
    if "racks" in found:
        typer.echo(
            f"{found['racks']:>3} Racks   {found['racks_caught_up_s']:>10.1f} s until the hub, up again, had"
            f" {found['racks_backlog_msgs']:,} messages; it took {found['racks_hub_rss_mib']:.0f} MiB"
        )
