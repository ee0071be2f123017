"""`fluxrig sniff`: what goes over the wire, from capture files or an interface."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption
from fluxrig.cli.options import seconds
from fluxrig.cli.signals import until_told
from fluxrig.gear import Context, Receipt
from fluxrig.message import FluxMsg

if TYPE_CHECKING:
    from gears.network_sniffer.config import Config
    from gears.network_sniffer.gear import NetworkSniffer


def sniff(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="Captures: pcap or pcapng, also in gzip.", show_default=False
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option("--interface", "-i", help="Capture on this interface instead.", show_default=False),
    ] = None,
    filter_: Annotated[
        str, typer.Option("--filter", help="Which packets, such as 'tcp port 502'.", show_default="all TCP")
    ] = "",
    for_: Annotated[
        float | None,
        typer.Option(
            "--for",
            parser=seconds,
            metavar="DURATION",
            help="Stop after this long, such as 30s.",
            show_default="until the files end or Ctrl-C",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show every Modbus exchange: who asked whom for what, and what came of it. Sends nothing.

    For people one line an exchange, then a summary. With --json one message a line: ot.transaction/1,
    ot.anomaly/1 and ot.capture/1. Live capture needs the right CAP_NET_RAW.
    """
    configs = _configs(files or [], interface, filter_)
    printer = Printer(as_json=as_json)
    try:
        with _progress(printer, busy=not sys.stdout.isatty()):
            asyncio.run(until_told(lambda stop: _sniff_all(configs, printer, stop), for_))
        printer.summarise()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted; Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _configs(files: list[Path], interface: str | None, filter_: str) -> list[Config]:
    from pydantic import ValidationError

    from gears.network_sniffer.config import Config

    if bool(files) == (interface is not None):
        raise typer.BadParameter("give capture files, or an interface with -i")
    try:
        if interface is not None:
            return [Config(interface=interface, filter=filter_)]
        return [Config(file=file, filter=filter_) for file in files]
    except ValidationError as error:
        raise typer.BadParameter("; ".join(fault["msg"] for fault in error.errors())) from None


async def _sniff_all(configs: list[Config], printer: Printer, stop: asyncio.Event) -> None:
    from gears.network_sniffer.gear import NetworkSniffer

    for config in configs:
        if not stop.is_set():
            await _sniff(
                NetworkSniffer(config, Context(rack="cli", gear="sniff", uns="sniff")), printer, stop
            )


async def _sniff(gear: NetworkSniffer, printer: Printer, stop: asyncio.Event) -> None:
    await gear.open()
    running = asyncio.ensure_future(gear.run(printer.emit))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
    finally:
        for task in (running, stopping):
            task.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
        await gear.close()


def _progress(printer: Printer, *, busy: bool) -> Any:
    """Show that something happens when stdout goes elsewhere and somebody watches stderr."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(printer, spinner="dots") if busy and console.is_terminal else nullcontext()


class Printer:
    """Prints messages as they come, and counts them for the summary."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._links: Counter[tuple[str, str, int, str, str]] = Counter()
        self._anomalies: Counter[tuple[str, str]] = Counter()
        self._lost_bytes = 0

    def __rich__(self) -> str:
        return f"{sum(self._links.values())} exchanges"

    async def emit(self, port: str, batch: Iterable[FluxMsg]) -> Receipt:
        from gears.stdout.render import to_json

        render = to_json if self._as_json else _line
        messages = list(batch)
        for message in messages:
            self._count(message)
        lines = [line for message in messages if (line := render(message))]
        if lines:
            print("\n".join(lines), flush=True)
        receipt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        receipt.set_result(None)
        return receipt

    def summarise(self) -> None:
        """Print links with their functions and outcomes, then anomalies and losses."""
        if self._as_json:
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("client", "server", "unit", "function", "status", "exchanges", title="Modbus")
        for (client, server, unit, name, status), count in sorted(self._links.items()):
            table.add_row(client, server, str(unit), name, status, str(count))
        console = Console()
        console.print(table if self._links else "no Modbus seen")
        for (code, detail), count in sorted(self._anomalies.items()):
            console.print(f"anomaly {code} (at least {count}): {detail}", highlight=False)
        if self._lost_bytes:
            console.print(f"{self._lost_bytes} bytes on the wire were not captured", highlight=False)

    def _count(self, message: FluxMsg) -> None:
        data = message.data
        if message.schema == "ot.transaction/1":
            flow = data["flow"]
            name = data["op"].get("name", f"function {data['op']['fc']}")
            key = (flow["client"]["ip"], _end(flow["server"]), data["target"]["unit"], name, data["status"])
            self._links[key] += 1
        elif message.schema == "ot.anomaly/1":
            key_of = data["code"], data["detail"]
            self._anomalies[key_of] = max(self._anomalies[key_of], data.get("count", 1))
        elif message.schema == "ot.capture/1":
            self._lost_bytes = max(self._lost_bytes, data["lost_bytes"])


def _end(end: Mapping[str, Any]) -> str:
    ip = f"[{end['ip']}]" if ":" in end["ip"] else end["ip"]
    return f"{ip}:{end['port']}"


def _line(message: FluxMsg) -> str:
    """Give one exchange or anomaly as a line for people; counters give none."""
    data = message.data
    time = datetime.fromtimestamp(message.ts // 1_000_000_000, UTC).strftime("%H:%M:%S")
    stamp = f"{time}.{message.ts // 1000 % 1_000_000:06}"
    if message.schema == "ot.anomaly/1":
        return f"{stamp} anomaly {data['code']}: {data['detail']} (frame {data['frame']})"
    if message.schema != "ot.transaction/1":
        return ""
    flow, target = data["flow"], data["target"]
    what = data["op"].get("name", f"function {data['op']['fc']}")
    where = f" {target['table']}/{target['address']} x{target['quantity']}" if "quantity" in target else ""
    latency = f" {data['latency_us']} us" if "latency_us" in data else ""
    ends = f"{_end(flow['client'])} > {_end(flow['server'])}"
    return f"{stamp} {ends} unit {target['unit']} {what}{where}: {_outcome(data)}{latency}"


def _outcome(data: Mapping[str, Any]) -> str:
    if "exception" in data:
        return f"exception {data['exception']['code']} {data['exception'].get('name', '')}".rstrip()
    values = (data.get("read") or data.get("write") or {}).get("values")
    if not values:
        return str(data["status"])
    shown = " ".join(str(int(value)) for value in values[:16]) + (" ..." if len(values) > 16 else "")
    return shown if data["status"] == "ok" else f"{shown} ({data['status']})"
