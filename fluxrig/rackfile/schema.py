"""The JSON Schema of a Rack file, so that editors complete and check it while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxrig.catalog import Catalog
from fluxrig.duration import format_duration
from fluxrig.gear import Manifest
from fluxrig.rackfile.file import GEAR_NAME, GearEntry, RackEntry, WireEntry
from fluxrig.size import format_size

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def schema(catalog: Catalog) -> dict[str, Any]:
    """Give the schema of a Rack file over the gears of a catalog."""
    root = dict(as_written(RackEntry.model_json_schema()))
    definitions: dict[str, Any] = root.setdefault("$defs", {})
    definitions["Wire"] = WireEntry.model_json_schema()
    kinds = {kind: f"gear.{kind}" for kind in catalog}
    for kind, name in kinds.items():
        definitions |= _gear(catalog[kind], name)
    references = {kind: {"$ref": f"#/$defs/{name}"} for kind, name in kinds.items()}
    properties = root["properties"]
    properties["wires"]["items"] = {"anyOf": [{"type": "string", "pattern": "->"}, {"$ref": "#/$defs/Wire"}]}
    properties["gears"] |= {
        "propertyNames": {"pattern": GEAR_NAME, "not": {"const": "uplink"}},
        "additionalProperties": {
            "oneOf": list(references.values()),
            "discriminator": {
                "propertyName": "kind",
                "mapping": {kind: reference["$ref"] for kind, reference in references.items()},
            },
        },
    }
    return {"$schema": _DRAFT, "title": "Rack file", **_with_variables(root)}


def gear_schema(manifest: Manifest, ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """Give the schema of a gear's own settings, with defaults as a file would write them."""
    return dict(as_written(manifest.config.model_json_schema(ref_template=ref_template)))


def _gear(manifest: Manifest, name: str) -> dict[str, Any]:
    """Give the definitions of one kind: its settings and what every gear has, named apart by kind."""
    own = gear_schema(manifest, f"#/$defs/{name}.{{model}}")
    common = as_written(GearEntry.model_json_schema())
    inner = own.pop("$defs", {})
    own["properties"] = {
        "kind": {"const": manifest.kind, "description": manifest.summary},
        **own.get("properties", {}),
        **{key: value for key, value in common["properties"].items() if key != "kind"},
    }
    own["required"] = ["kind", *own.get("required", ())]
    own["title"] = manifest.kind
    return {name: own, **{f"{name}.{key}": value for key, value in inner.items()}}


def as_written(part: Any) -> Any:
    """Turn the defaults of durations and sizes from numbers into text."""
    if isinstance(part, list):
        return [as_written(item) for item in part]
    if not isinstance(part, Mapping):
        return part
    written = {key: as_written(value) for key, value in part.items()}
    default = written.get("default")
    if isinstance(default, int | float) and not isinstance(default, bool):
        if _is_a("duration", written):
            written["default"] = format_duration(default)
        elif _is_a("size", written):
            written["default"] = format_size(int(default))
    return written


def _is_a(kind: str, part: Mapping[str, Any]) -> bool:
    return any(option.get("x-type") == kind for option in (part, *part.get("anyOf", ())))


def _with_variables(part: Any) -> Any:
    """Let `${VAR}` stand wherever something other than free text is asked for."""
    if isinstance(part, list):
        return [_with_variables(item) for item in part]
    if not isinstance(part, Mapping):
        return part
    if part.get("type") in ("integer", "number", "boolean"):
        notes = {key: part[key] for key in ("title", "description", "default") if key in part}
        rule = {key: value for key, value in part.items() if key not in notes}
        return {**notes, "anyOf": [rule, _VARIABLE]}
    return {key: _with_variables(value) for key, value in part.items()}
