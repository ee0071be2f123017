"""`fluxrig sniff`: what goes over the wire, from capture files or interfaces."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption
from fluxrig.cli.options import seconds
from fluxrig.cli.signals import run_until_told
from fluxrig.cli.sniff_lines import csv_header, csv_rows, line
from fluxrig.cli.sniff_summary import Summary
from fluxrig.duration import format_duration
from fluxrig.gear import Context, Receipt
from fluxrig.message import FluxMsg

if TYPE_CHECKING:
    from gears.network_sniffer.config import Config
    from gears.network_sniffer.gear import NetworkSniffer


def sniff(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Captures: pcap or pcapng, also in gzip, or folders of them.",
            show_default=False,
        ),
    ] = None,
    interface: Annotated[
        list[str] | None,
        typer.Option(
            "--interface",
            "-i",
            help="Capture on this interface instead; may be repeated.",
            show_default=False,
        ),
    ] = None,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter", help="Which packets, such as 'tcp port 502'.", show_default="all TCP and UDP"
        ),
    ] = "",
    promiscuous: Annotated[
        bool,
        typer.Option("--promiscuous", "-p", help="Take frames addressed to others, as of a mirror port."),
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait at the end of the file for more, as it is written.")
    ] = False,
    learn: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="DURATION",
            help="How long what is seen is usual; later, new clients, writers and functions are anomalies.",
            show_default="1h",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="A file that keeps what was learned, for the next time.", show_default="learn anew each time"
        ),
    ] = None,
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
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one exchange a row, with a header.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every Modbus exchange: who asked whom for what, and what came of it. Sends nothing.

    On a terminal a live table, elsewhere one line an exchange, change of a value, or anomaly; then a summary
    of assets, links, functions, exceptions, anomalies and losses. With --json one message a line:
    ot.transaction/1, ot.value/1, ot.anomaly/1, ot.asset/1, ot.link/1 and ot.capture/1. Live capture needs the
    right CAP_NET_RAW.
    """
    if as_csv and as_json:
        raise typer.BadParameter("give either --csv or --json")
    options: dict[str, Any] = {"filter": filter_, "promiscuous": promiscuous, "follow": follow}
    if baseline is not None:
        options["baseline"] = baseline
    if learn is not None:
        options["learn"] = format_duration(learn)
    configs = _configs(files or [], interface or [], options)
    printer = JsonPrinter() if as_json else CsvPrinter() if as_csv else PeoplePrinter()
    try:
        with printer.progress():
            run_until_told(lambda stop: _sniff_all(configs, printer, stop), for_)
        printer.finish()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted; Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _configs(files: list[Path], interfaces: list[str], options: dict[str, Any]) -> list[Config]:
    from pydantic import ValidationError

    from gears.network_sniffer.config import Config

    if bool(files) == bool(interfaces):
        raise typer.BadParameter("give capture files, or an interface with -i")
    if options["follow"] and len(files) > 1:
        raise typer.BadParameter("follow one file or folder at a time: a file that is followed has no end")
    try:
        if interfaces:
            return [Config.model_validate({"interface": tuple(interfaces), **options})]
        return [Config.model_validate({"file": file, **options}) for file in files]
    except ValidationError as error:
        raise typer.BadParameter("; ".join(fault["msg"] for fault in error.errors())) from None


async def _sniff_all(configs: list[Config], printer: Printer, stop: asyncio.Event) -> None:
    from gears.network_sniffer.gear import NetworkSniffer

    for config in configs:
        if not stop.is_set():
            gear = NetworkSniffer(config, Context(rack="cli", gear="sniff", uns="sniff"))
            await _sniff(gear, printer, stop)
            printer.summary.next_capture()


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


class Printer:
    """Prints messages as they come, and counts them. Shows on stderr that something happens, if watched."""

    def __init__(self) -> None:
        self.summary = Summary()

    async def emit(self, port: str, batch: Iterable[FluxMsg]) -> Receipt:
        messages = list(batch)
        self.summary.count(messages)
        if text := self.text(messages):
            print(text, flush=True)
        receipt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        receipt.set_result(None)
        return receipt

    def text(self, messages: list[FluxMsg]) -> str:
        raise NotImplementedError

    def progress(self) -> Any:
        from rich.console import Console

        console = Console(stderr=True)
        if sys.stdout.isatty() or not console.is_terminal:
            return nullcontext()
        return console.status(_Count(self.summary), spinner="dots")

    def finish(self) -> None:
        """Print what comes at the end."""


class JsonPrinter(Printer):
    """One message a line."""

    def text(self, messages: list[FluxMsg]) -> str:
        from gears.stdout.render import to_json

        return "\n".join(map(to_json, messages))


class CsvPrinter(Printer):
    """One exchange a row."""

    def __init__(self) -> None:
        super().__init__()
        print(csv_header())

    def text(self, messages: list[FluxMsg]) -> str:
        return csv_rows(messages)


class PeoplePrinter(Printer):
    """A live table on a terminal, lines elsewhere; then the summary."""

    def __init__(self) -> None:
        super().__init__()
        self._watched = sys.stdout.isatty()

    def text(self, messages: list[FluxMsg]) -> str:
        return "" if self._watched else "\n".join(filter(None, map(line, messages)))

    def progress(self) -> Any:
        if not self._watched:
            return super().progress()
        from rich.live import Live

        return Live(get_renderable=self.summary.live, refresh_per_second=4, transient=True)

    def finish(self) -> None:
        from rich.console import Console

        # Nobody watches a pipe: its reader wants whole names.
        console = Console(width=None if self._watched else 160)
        tables = self.summary.tables()
        for table in tables:
            console.print(table)
        if not self.summary.total:
            console.print("no Modbus seen")
        for loss in self.summary.lost():
            console.print(f"lost: {loss}", highlight=False)


class _Count:
    """How many exchanges there were, for a status line."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def __rich__(self) -> str:
        return f"{self._summary.total:,} exchanges"
