"""The generated documents: complete, current, and never written over by hand."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field

from fluxrig.cli.commands import commands_markdown
from fluxrig.cli.docs import BEGIN, END, replace_generated
from fluxrig.cli.reference import describe, file_markdown, gear_markdown, settings, table
from fluxrig.duration import Seconds
from fluxrig.errors import FluxrigError
from fluxrig.gear import GearConfig, Manifest


class Part(GearConfig):
    """A part."""

    name: str
    """Its | name."""


class Config(GearConfig):
    """Settings."""

    address: str
    """Where
    it is."""
    every: Seconds = 0.25
    """How often."""
    limit: Seconds | None = None
    """How long at most."""
    mode: Literal["a", "b"] = "a"
    """Which way."""
    count: int = Field(default=5, ge=1, le=9)
    """How many."""
    on: bool = False
    """Whether."""
    parts: dict[str, Part] = Field(default={})
    """The parts."""
    names: list[str] = Field(default=["x"])
    """The names."""


MANIFEST = Manifest(
    "own", "is one's own", Config, "gears.simulate.gear:Own", inputs=("in",), outputs=("out", "low")
)


def test_settings() -> None:
    """Every setting has a row: key, type in plain words, default as a file would write it, meaning."""
    own, part = settings(MANIFEST)
    assert own == (
        "",
        [
            ("address", "text", "required", "Where it is."),
            ("every", "duration", "250ms", "How often."),
            ("limit", "duration", "", "How long at most."),
            ("mode", "a or b", "a", "Which way."),
            ("count", "whole number from 1 to 9", "5", "How many."),
            ("on", "true or false", "false", "Whether."),
            ("parts", "mapping of name to Part", "", "The parts."),
            ("names", "list of text", "[x]", "The names."),
        ],
    )
    assert part == ("Part", [("name", "text", "required", "Its | name.")])


def test_gear_markdown() -> None:
    """A gear's reference holds its ports, its settings, those of its parts, and its example."""
    text = gear_markdown(MANIFEST)
    assert text.startswith("Inputs: in. Outputs: out, low, error.\n\n| Key | Type | Default | Meaning |\n")
    assert "### Part\n" in text
    assert "Its \\| name." in text
    assert "```yaml\n# Ten messages a second" in text


def test_describe_knows_any_schema() -> None:
    """What has no type is anything."""
    assert describe({}) == "anything"
    assert describe({"type": "number", "exclusiveMinimum": 0}) == "number above 0"


def test_every_setting_of_ours_is_documented() -> None:
    """No gear has a setting without a word about it."""
    from fluxrig.catalog import installed

    for manifest in installed().values():
        for part, rows in settings(manifest):
            for key, kind, _, meaning in rows:
                assert meaning, f"{manifest.kind} {part} {key}"
                assert kind != "anything", f"{manifest.kind} {part} {key}"


def test_commands_markdown() -> None:
    """Every command and group has its help, its usage and what each parameter means."""
    app = typer.Typer(help="All of it.", add_completion=False)
    group = typer.Typer(help="Some of it.")

    @app.command()
    def look(file: Annotated[Path, typer.Argument(help="What to look at.")]) -> None:
        """Look at a file.

        Twice.
        """

    @group.command()
    def up(port: Annotated[int, typer.Option(help="Where to listen.")] = 5) -> None:
        """Go up."""

    app.add_typer(group, name="more")
    text = commands_markdown(app, "tool")
    assert text.startswith("## tool\n\nAll of it.\n\n```\ntool ")
    assert "### tool look\n\nLook at a file.\n\nTwice.\n\n```\ntool look" in text
    assert "What to look at. [required]" in text
    assert "#### tool more up\n\nGo up." in text
    assert "Where to listen. [default: 5]" in text
    assert "--help" not in text


def test_only_the_marked_part_is_replaced(tmp_path: Path) -> None:
    """What people wrote around the marks stays; doing it again changes nothing."""
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nAlso mine.\n")
    once = replace_generated(readme, "new")
    assert once == f"# Mine\n\n{BEGIN}\n\nnew\n\n{END}\n\nAlso mine.\n"
    readme.write_text(once)
    assert replace_generated(readme, "new") == once


@pytest.mark.parametrize("text", [None, "", f"{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_missing_marks_are_named(tmp_path: Path, text: str | None) -> None:
    """A README without its marks is an error that says what to write."""
    readme = tmp_path / "README.md"
    if text is not None:
        readme.write_text(text)
    with pytest.raises(FluxrigError, match="<!-- generated: config -->"):
        replace_generated(readme, "new")


def test_table() -> None:
    """A bar in a cell does not end it."""
    assert table(["a", "b"], [["1|2", "3"]]) == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |"


def test_the_rack_file_is_documented() -> None:
    """Every key of a Rack file has a row with a meaning."""
    text = file_markdown()
    for key in (
        "rack",
        "uns",
        "snake",
        "mixer",
        "join",
        "kind",
        "process_timeout",
        "wire",
        "queue",
        "when_full",
    ):
        assert f"| `{key}` | " in text
    assert " |  |\n" not in text
