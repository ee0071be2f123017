"""The console script `fluxrig`: what integrators use, one command a module."""

from __future__ import annotations

import sys

import typer

from fluxrig.cli import bench, console, modbus
from fluxrig.cli.check import check
from fluxrig.cli.console import VersionOption
from fluxrig.cli.decode import decode
from fluxrig.cli.demo.command import demo
from fluxrig.cli.docs import docs
from fluxrig.cli.enroll import enroll
from fluxrig.cli.garbage import collect_seldom
from fluxrig.cli.gears import gears
from fluxrig.cli.graph import graph
from fluxrig.cli.run import run
from fluxrig.cli.schema import schema
from fluxrig.cli.sniff import sniff
from fluxrig.cli.status import status
from fluxrig.cli.verify_proof import verify_proof

app = typer.Typer(
    name="fluxrig",
    help="A patchbay for industrial signals: from register or wire to a verified Parquet row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(version: VersionOption = False) -> None:
    pass


for command in (demo, check, run, enroll, status, graph, gears, schema, docs, decode, sniff, verify_proof):
    app.command()(command)
app.add_typer(modbus.app, name="modbus")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line and exit."""
    collect_seldom()
    sys.exit(console.run(app))
