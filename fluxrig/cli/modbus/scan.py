"""`fluxrig modbus scan`: which units answer, and which addresses they have."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.modbus.options import TlsOption, Url
from fluxrig.cli.options import seconds
from fluxrig.errors import FluxrigError

if TYPE_CHECKING:
    from fluxrig.cli.modbus.scanner import Found

MAX_UNIT = 255


def scan(
    url: Url,
    units: Annotated[
        str, typer.Option(help="Which units to look for, such as 1-247, or 1,3,10-20.")
    ] = "1-10",
    tables: Annotated[
        str, typer.Option(help="Which tables to look into; none finds the units alone.")
    ] = "coil,discrete,holding,input",
    first: Annotated[int, typer.Option("--from", min=0, max=65535, help="The first address.")] = 0,
    last: Annotated[int, typer.Option("--to", min=0, max=65535, help="The last address.")] = 999,
    block: Annotated[
        int, typer.Option(min=1, max=125, help="Addresses in one request, fewer for a poor device.")
    ] = 100,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Look at each address where a block is not there whole.")
    ] = False,
    pause: Annotated[
        float,
        typer.Option(parser=seconds, metavar="DURATION", help="Between one answer and the next request."),
    ] = "50ms",  # type: ignore[assignment]
    timeout: Annotated[
        float, typer.Option(parser=seconds, metavar="DURATION", help="How long a unit may take to answer.")
    ] = "500ms",  # type: ignore[assignment]
    tls: TlsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the units that answer, and which addresses of each table can be read. Only reads.

    Gentle by default: one request at a time with a pause in between, and it stops by itself, telling what it
    has found, when the device grows slow, says that it is busy, or stops answering; it then exits with 1.
    Ctrl-C shows what was found so far.
    Where a block of addresses is not there as a whole, every tenth of them is tried: without --thorough a
    range of fewer than ten in between may stay unfound. Reading has no effect on nearly all devices; the
    manual tells of the others.
    """
    from fluxrig.cli.modbus.device import target_of
    from fluxrig.cli.modbus.scanner import INTERRUPTED, Scanner

    target = target_of(url, timeout, tls)
    asked, looked_into = parse_units(units), parse_tables(tables)
    if last < first:
        raise typer.BadParameter(f"{last} is before {first}", param_hint="--to")
    scanner = Scanner(
        target,
        asked,
        looked_into,
        (first, last),
        block=block,
        thorough=thorough,
        pause_s=pause,
    )
    with _progress(scanner):
        try:
            found = asyncio.run(scanner.run())
        except KeyboardInterrupt:
            found = scanner.interrupted()
    if as_json:
        print_json({"endpoint": url, "thorough": thorough, **as_document(found)})
    else:
        _show(found, looked_into, thorough=thorough)
    if found.stopped == INTERRUPTED:
        raise typer.Exit(130)
    if found.stopped:
        raise FluxrigError(f"stopped, to leave the device alone: {found.stopped}; a longer --pause may help")
    if not found.units:
        raise FluxrigError(
            f"no unit of {units} answers within {timeout:g} s; check --units, --timeout and the wiring"
        )


def parse_units(text: str) -> list[int]:
    """Read `1-10,247`. Raises typer.BadParameter."""
    units: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,3})(?:-([0-9]{1,3}))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not low <= high <= MAX_UNIT:
            raise typer.BadParameter(
                f"{part[:32]!r} is no unit or range; write 1-247 or 1,3", param_hint="--units"
            )
        units.update(dict.fromkeys(range(low, high + 1)))
    return list(units)


def parse_tables(text: str) -> list[Any]:
    """Read `holding,input`, or `none`. Raises typer.BadParameter."""
    from fluxrig.modbus.address import TABLES

    if text == "none":
        return []
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in TABLES:
            raise typer.BadParameter(
                f"there is no table {word[:32]!r}; there are {', '.join(TABLES)}", param_hint="--tables"
            )
    return [table for table in TABLES if table in words]


def as_document(found: Found) -> dict[str, Any]:
    """Give what programs read."""
    units = [
        {
            "unit": unit.unit,
            "answers": unit.answers,
            "latency_ms": round(unit.latency_ms, 2),
            "tables": {
                table: [{"first": first, "last": last} for first, last in ranges]
                for table, ranges in unit.tables.items()
            },
        }
        for unit in found.units
    ]
    facts = {"silent": found.silent, "requests": found.requests}
    return {"units": units, **facts, "note": found.note or None, "stopped": found.stopped or None}


def _progress(scanner: Any) -> Any:
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(scanner, spinner="dots") if console.is_terminal else nullcontext()


def _show(found: Found, tables: list[Any], *, thorough: bool) -> None:
    for unit in found.units:
        typer.echo(f"unit {unit.unit} answers in {unit.latency_ms:.1f} ms ({unit.answers})")
        for table in tables:
            if table in unit.tables:
                ranges = ", ".join(
                    f"{first}-{last}" if last > first else str(first) for first, last in unit.tables[table]
                )
                typer.echo(f"  {table:8}  {ranges or 'nothing found'}")
    if any(unit.tables for unit in found.units) and not thorough:
        typer.echo("ranges of fewer than ten addresses may be missing; --thorough looks at each", err=True)
    if found.silent:
        typer.echo(f"silent: {', '.join(map(str, found.silent))}")
    if found.note:
        typer.echo(found.note)
    typer.echo(f"{found.requests} requests", err=True)
