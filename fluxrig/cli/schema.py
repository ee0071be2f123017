"""`fluxrig schema`: the JSON Schema of a Rack file."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a Rack file, with every kind of gear installed here.

    Editors complete and check a Rack file that names it in its first line:
    `# yaml-language-server: $schema=rack.schema.json`
    """
    from fluxrig.catalog import installed
    from fluxrig.rackfile import schema as rack_schema

    typer.echo(json.dumps(rack_schema(installed()), indent=2, ensure_ascii=False))
