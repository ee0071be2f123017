"""`mixer project`: the isolated worlds that one Mixer keeps."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from fluxrig.cli.audit import DataOption, folder
from fluxrig.cli.console import JsonOption, print_json

app = typer.Typer(no_args_is_help=True, help="Projects: worlds of Racks that do not see each other.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Up to 32 of a-z, 0-9 and '-'.")], data: DataOption = None
) -> None:
    """Make a project, also while the Mixer runs. `mixer join-token create --project NAME` lets Racks in."""
    from mixer.projects import projects

    asyncio.run(projects(folder(data), name))
    print(f"made project {name}")


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show the projects."""
    from mixer.projects import projects

    found = asyncio.run(projects(folder(data)))
    if as_json:
        print_json({"projects": found})
    else:
        print("\n".join(found))
