"""`fluxrig graph`: a Rack as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def graph(file: Annotated[Path, typer.Argument(help="The Rack file.", show_default=False)]) -> None:
    """Print the gears and wires of a Rack file as a Mermaid flowchart."""
    from fluxrig.catalog import installed
    from fluxrig.rackfile import load, mermaid

    typer.echo(mermaid(load(file, installed(), os.environ, secrets=False)), nl=False)
