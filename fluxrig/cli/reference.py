"""The reference of gears and commands, taken from what they are: config models, manifests, command trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeAlias

from pydantic import BaseModel

from fluxrig.gear import ERROR_PORT, Manifest
from fluxrig.rackfile.file import GearEntry, RackEntry, SnakeEntry, StoreEntry, WireEntry
from fluxrig.rackfile.schema import as_written, gear_schema

Row: TypeAlias = tuple[str, str, str, str]
"""Key, type, default and meaning of one setting."""

_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def ports(manifest: Manifest) -> str:
    """Say in one line what goes in and out."""
    inputs = ", ".join(manifest.inputs) or "none, it is a source"
    outputs = ", ".join([*manifest.outputs, ERROR_PORT])
    return f"Inputs: {inputs}. Outputs: {outputs}."


def example(manifest: Manifest) -> str:
    """Give the gear's example, a whole Rack file, or nothing if the package has none."""
    package = manifest.gear.partition(":")[0].rpartition(".")[0]
    file = files(package) / "example.yaml" if package else None
    return file.read_text("utf-8") if file is not None and file.is_file() else ""


def settings(manifest: Manifest) -> Iterator[tuple[str, list[Row]]]:
    """Give the table of a gear's own settings, titled "", then those of the parts it is made of."""
    schema = gear_schema(manifest)
    yield "", rows(schema)
    for name, part in schema.get("$defs", {}).items():
        if part.get("properties"):
            yield name, rows(part)


def rows(schema: Mapping[str, Any]) -> list[Row]:
    """Give a row for each key of a JSON Schema."""
    required = schema.get("required", ())
    return [
        (
            name,
            describe(part),
            "required" if name in required else _default(part),
            _flat(part.get("description")),
        )
        for name, part in schema.get("properties", {}).items()
    ]


def describe(schema: Mapping[str, Any]) -> str:
    """Say in a few words which values a JSON Schema allows."""
    if name := schema.get("x-type") or schema.get("$ref"):
        return str(name).rpartition("/")[2]
    if "const" in schema or "enum" in schema:
        return " or ".join(map(_word, schema.get("enum", [schema.get("const")])))
    if options := schema.get("anyOf") or schema.get("oneOf"):
        named = dict.fromkeys(describe(option) for option in options if option.get("type") != "null")
        return " or ".join(named)
    if schema.get("type") == "array":
        return f"list of {describe(schema.get('items', {}))}"
    if schema.get("type") == "object":
        return f"mapping of name to {describe(schema.get('additionalProperties', {}))}"
    return f"{_TYPES.get(schema.get('type', ''), 'anything')}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    bounds = [f"from {low}"] * (low is not None) + [f"above {above}"] * (above is not None)
    bounds += [f"to {high}"] * (high is not None) + [f"below {below}"] * (below is not None)
    return " ".join(["", *bounds])


def _default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    if value is None or value in ({}, [], ""):
        return ""
    return _word(value)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:.12g}"
    return "[" + ", ".join(map(_word, value)) + "]" if isinstance(value, list) else str(value)


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def gear_markdown(manifest: Manifest) -> str:
    """Give the generated part of a gear's README."""
    parts = [ports(manifest)]
    for title, found in settings(manifest):
        parts += [f"### {title}"] if title else []
        parts.append(settings_table(found))
    if text := example(manifest):
        parts += ["### Example", f"`example.yaml`, which `fluxrig gears {manifest.kind}` prints:"]
        parts.append(f"```yaml\n{text.rstrip()}\n```")
    return "\n\n".join(parts)


def file_markdown() -> str:
    """Give the reference of what stands in a Rack file around the gears' own settings."""
    titled: dict[str, type[BaseModel]] = {
        "The file": RackEntry,
        "snake": SnakeEntry,
        "store": StoreEntry,
        "Every gear": GearEntry,
        "A wire with settings": WireEntry,
    }
    parts = [(title, rows(as_written(model.model_json_schema()))) for title, model in titled.items()]
    return "\n\n".join(f"### {title}\n\n{settings_table(found)}" for title, found in parts)


def settings_table(found: Sequence[Row]) -> str:
    """Give rows of settings as a Markdown table."""
    return table(("Key", "Type", "Default", "Meaning"), [(f"`{row[0]}`", *row[1:]) for row in found])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
