"""`fluxrig modbus plan`: which requests a Rack file makes, and how long a cycle takes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.options import seconds
from fluxrig.duration import format_duration
from fluxrig.errors import FluxrigError

if TYPE_CHECKING:
    from fluxrig.cli.modbus.cycle import Cycle
    from fluxrig.modbus.plan import Block


def plan(
    file: Annotated[Path, typer.Argument(help="The Rack file.", show_default=False)],
    gear: Annotated[
        str | None, typer.Option(help="One gear of it.", show_default="all that poll Modbus")
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="DURATION",
            help="How long a device takes to answer.",
            show_default="10ms, an assumption",
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Ask the devices: send each request once, and time the answers.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the requests that a Rack file makes, what they touch and waste, and the time a cycle takes.

    Asks no device, unless with --measure. The time is an estimate: for each request the latency, the pauses
    of the configuration and, on a serial line, the bytes at its baud rate. Exits with 1 when the cycles of an
    endpoint do not fit their intervals.
    """
    from fluxrig.catalog import installed
    from fluxrig.cli.modbus.cycle import ASSUMED_S, cycles
    from fluxrig.rackfile import load
    from gears.io_modbus.config import Config

    if measure and latency is not None:
        raise typer.BadParameter("give one of --latency and --measure")
    spec = load(file, installed(), os.environ, secrets=False)
    configs = {name: found.config for name, found in spec.gears.items() if isinstance(found.config, Config)}
    if gear is not None and gear not in configs:
        raise typer.BadParameter(f"{file} has no gear {gear!r} that polls Modbus", param_hint="--gear")
    configs = {name: config for name, config in configs.items() if gear in (None, name)}
    if not configs:
        raise FluxrigError(f"{file} has no gear of kind io_modbus")
    found = [cycle for name, config in configs.items() for cycle in cycles(name, config)]
    if measure:
        asyncio.run(_measure(found))
    else:
        for cycle in found:
            cycle.assume(ASSUMED_S if latency is None else latency, given=latency is not None)
    if as_json:
        print_json({"cycles": [cycle.as_json() for cycle in found], "lines": _lines(found)})
    else:
        _show(found)
    if late := [line for line in _lines(found) if line["load"] > 1]:
        names = ", ".join(str(line["endpoint"]) for line in late)
        raise FluxrigError(
            f"{names}: the cycles take longer than their intervals; poll less often, or fewer tags"
        )


async def _measure(found: list[Cycle]) -> None:
    from fluxrig.cli.modbus.device import Device

    for cycle in found:
        async with Device(cycle.target) as device:
            await cycle.measure(device)


def _lines(found: list[Cycle]) -> list[dict[str, Any]]:
    """Give how busy each endpoint is: its cycles go over one line, one request at a time."""
    loads: dict[str, float] = {}
    for cycle in found:
        loads[str(cycle.endpoint)] = loads.get(str(cycle.endpoint), 0.0) + cycle.cycle_s / cycle.every_s
    return [{"endpoint": endpoint, "load": round(load, 4)} for endpoint, load in loads.items()]


def _show(found: list[Cycle]) -> None:
    for cycle in found:
        what = f"{cycle.title}, every {format_duration(cycle.every_s)}"
        typer.echo(f"{what}: {cycle.endpoint} unit {cycle.device.unit}")
        for block in cycle.blocks:
            _show_block(block, cycle.unit_of(block))
        typer.echo(f"  {cycle.summary}")
        share = f"{cycle.cycle_s / cycle.every_s:.0%} of its interval"
        typer.echo(f"  a cycle takes about {cycle.cycle_s * 1e3:.1f} ms, {share} ({cycle.basis})\n")
    for line in _lines(found):
        typer.echo(f"{line['endpoint']} is busy {line['load']:.0%} of the time")


def _show_block(block: Block, unit: str) -> None:
    place = f"{block.table}/{block.start}" + (f"-{block.start + block.count - 1}" if block.count > 1 else "")
    tags = f"{len(block.tags)} tag{'s' if len(block.tags) > 1 else ''}"
    wasted = f", {block.wasted} wasted" if block.wasted else ""
    typer.echo(f"  read {place:22} {block.count:5} {unit}, {tags}{wasted}")
