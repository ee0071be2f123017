"""`fluxrig gears`: which kinds of gear there are, and how one is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fluxrig.catalog import Catalog
    from fluxrig.gear import Manifest


def gears(
    kind: Annotated[
        str | None, typer.Argument(help="One kind, to see all about it.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the kinds of gear, or show the ports, settings and an example of one."""
    from fluxrig.catalog import installed

    catalog = installed()
    if kind is None:
        _list(catalog, as_json=as_json)
        return
    if kind not in catalog:
        from fluxrig.rackfile.faults import nearest

        raise typer.BadParameter(f"there is no kind {kind!r}{nearest(kind, catalog)}", param_hint="KIND")
    _show(catalog[kind], as_json=as_json)


def _list(catalog: Catalog, *, as_json: bool) -> None:
    if as_json:
        print_json([_facts(manifest) for manifest in catalog.values()])
    else:
        _table(("kind", "what it does"), ((manifest.kind, manifest.summary) for manifest in catalog.values()))


def _show(manifest: Manifest, *, as_json: bool) -> None:
    from fluxrig.cli.reference import example, ports, settings
    from fluxrig.rackfile.schema import gear_schema

    if as_json:
        facts = {"config": gear_schema(manifest), "example": example(manifest)}
        print_json({**_facts(manifest), **facts})
        return
    typer.echo(f"{manifest.kind}: {manifest.summary}\n{ports(manifest)}\n")
    for title, rows in settings(manifest):
        typer.echo(f"{title}:" if title else "settings:")
        _table(("key", "type", "default", "meaning"), rows)
        typer.echo()
    if text := example(manifest):
        typer.echo(f"example:\n\n{text}", nl=False)


def _facts(manifest: Manifest) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": manifest.kind, "summary": manifest.summary, "source": manifest.source}
    return {**facts, "inputs": manifest.inputs, "outputs": manifest.outputs}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
