"""`fluxrig docs`: write the documents that follow from the code, or say which are stale."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from fluxrig.errors import FluxrigError

BEGIN: Final = "<!-- generated: config -->"
END: Final = "<!-- end -->"
_NOTE: Final = "<!-- Written by `fluxrig docs` from the commands themselves; edit those. -->"


def docs(
    stale_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 and name what is stale.")
    ] = False,
) -> None:
    """Write the reference of gears and commands and the JSON Schema into the source tree.

    These are the parts between the marks in each gear's README.md and in docs/rack-file.md, docs/cli.md, and
    configs/rack.schema.json.
    """
    root = _checkout()
    stale = [(path, text) for path, text in documents(root) if _current(path) != text]
    for path, text in stale:
        typer.echo(f"{path.relative_to(root)}: {'stale' if stale_only else 'written'}")
        if not stale_only:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    if stale and stale_only:
        raise FluxrigError("generated documents are stale; run: make docs")


def documents(root: Path) -> Iterator[tuple[Path, str]]:
    """Give every generated document of the source tree with the text that it should have."""
    from fluxrig.catalog import Catalog, installed
    from fluxrig.cli import main, mixer
    from fluxrig.cli.commands import commands_markdown
    from fluxrig.cli.reference import file_markdown, gear_markdown
    from fluxrig.rackfile import schema

    catalog = Catalog(manifest for manifest in installed().values() if manifest.gear.startswith("gears."))
    for kind, manifest in catalog.items():
        readme = root / "gears" / kind / "README.md"
        yield readme, replace_generated(readme, gear_markdown(manifest))
    rack_file = root / "docs" / "rack-file.md"
    yield rack_file, replace_generated(rack_file, file_markdown())
    commands = [commands_markdown(main.app, "fluxrig"), commands_markdown(mixer.app, "mixer")]
    yield root / "docs" / "cli.md", "\n\n".join(["# Commands", _NOTE, *commands]) + "\n"
    schema_text = json.dumps(schema(catalog), indent=2, ensure_ascii=False)
    yield root / "configs" / "rack.schema.json", schema_text + "\n"


def replace_generated(readme: Path, text: str) -> str:
    """Give a README with the part between the marks replaced."""
    current = _current(readme)
    if current is None:
        raise FluxrigError(f"{readme} is missing; write it, with a line {BEGIN} and a line {END}")
    before, begin, rest = current.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FluxrigError(f"{readme} lacks the line {BEGIN} or, after it, the line {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _current(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def _checkout() -> Path:
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        raise FluxrigError("the documents are generated in a checkout of the sources; there is none here")
    return root
