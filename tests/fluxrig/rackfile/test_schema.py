"""The JSON Schema: what an editor says of a file is what `check` says."""

from typing import Any

from fluxrig.rackfile import schema
from fluxrig.rackfile.file import GearEntry


def resolve(root: dict[str, Any], reference: str) -> dict[str, Any]:
    return root["$defs"][reference.rpartition("/")[2]]


def references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for item in part for found in references(item)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for value in part.values() for found in references(value)]


def test_every_kind_is_a_branch(catalog) -> None:
    """Each kind is chosen by its name, and has its own and the common keys, and no others."""
    root = schema(catalog)
    gears = root["properties"]["gears"]["additionalProperties"]
    assert list(gears["discriminator"]["mapping"]) == list(catalog)
    for kind, reference in gears["discriminator"]["mapping"].items():
        branch = resolve(root, reference)
        assert branch["properties"]["kind"]["const"] == kind
        assert branch["additionalProperties"] is False
        expected = {*catalog[kind].config.model_fields, *GearEntry.model_fields}
        assert branch["properties"].keys() == expected


def test_every_reference_resolves(catalog) -> None:
    """No reference leads nowhere, though several kinds may have parts of the same name."""
    root = schema(catalog)
    assert references(root)
    for reference in references(root):
        assert resolve(root, reference)


def test_durations_are_text(catalog) -> None:
    """A duration's default is written as a file would write it."""
    every = schema(catalog)["$defs"]["gear.poll"]["properties"]["every"]
    assert (every["type"], every["default"]) == ("string", "1s")


def test_variables_stand_for_numbers(catalog) -> None:
    """Where a number is asked for, a variable is fine, too."""
    unit = schema(catalog)["$defs"]["gear.poll"]["properties"]["unit"]
    assert [option["type"] for option in unit["anyOf"]] == ["integer", "string"]


def test_a_wire_is_text_or_settings(catalog) -> None:
    """Both ways to write a wire are known."""
    options = schema(catalog)["properties"]["wires"]["items"]["anyOf"]
    assert options[0]["type"] == "string"
    assert options[1] == {"$ref": "#/$defs/Wire"}


def test_no_gear_hides_a_common_key() -> None:
    """No installed kind has a setting of a name that every gear has: it could never be set."""
    from fluxrig.catalog import installed

    for manifest in installed().values():
        assert not manifest.config.model_fields.keys() & GearEntry.model_fields.keys()
