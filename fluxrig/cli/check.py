"""`fluxrig check`: find everything that is wrong with Rack files."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.errors import ConfigError, Fault

if TYPE_CHECKING:
    from fluxrig.rackfile import RackSpec
    from fluxrig.rackfile.model import SnakeSpec


def check(
    files: Annotated[list[Path], typer.Argument(help="The Rack files.", metavar="FILE", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Find everything that is wrong with Rack files, as `file:line:column: message`.

    Nothing is started and no device is asked. Variables are read from the environment; a token that is not
    on this machine is no fault. Exits with 2 when there are faults.
    """
    from fluxrig.catalog import installed
    from fluxrig.rackfile import load

    catalog = installed()
    faults: list[Fault] = []
    for file in files:
        try:
            spec = load(file, catalog, os.environ, secrets=False)
        except ConfigError as error:
            faults += error.faults
            if not as_json:
                typer.echo(str(error))
        else:
            if not as_json:
                typer.echo(f"{file}: ok ({_summary(spec)})")
    if as_json:
        print_json([asdict(fault) for fault in faults])
    if faults:
        raise typer.Exit(2)


def _summary(spec: RackSpec) -> str:
    link = _link(spec.snake) if spec.snake else "no Snake"
    return f"Rack {spec.name}: {_count(len(spec.gears), 'gear')}, {_count(len(spec.wires), 'wire')}, {link}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _link(snake: SnakeSpec) -> str:
    return f"Snake to {snake.host}:{snake.port}" if snake.host else "Snake to where it is enrolled"
