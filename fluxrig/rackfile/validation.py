"""Values of the file into pydantic models; what is wrong becomes faults at their places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fluxrig.rackfile.environment import redact
from fluxrig.rackfile.faults import Faults, Mark, shown
from fluxrig.rackfile.nodes import Node, paths
from fluxrig.rackfile.places import Place
from fluxrig.rackfile.words import explain, wants

IN_FILE: Final = "in_file"
"""Type of a pydantic error, and the key in its context for the `Fault`s that it carries from another file."""

M = TypeVar("M", bound=BaseModel)
_Found: TypeAlias = tuple[ErrorDetails, Place]


def validate(
    model: type[M],
    entry: Node,
    mark: Mark,
    faults: Faults,
    *,
    values: Any,
    known: Iterable[str] = (),
    folder: Path | None = None,
) -> M | None:
    """Make the model from the values of a node, or add what is wrong with them and give None.

    `mark` is where the entry's name stands; `known` are keys that are valid beside the model's own; `folder`
    is what the paths of further files begin at, None where there is no disk to look at. A model finds it as
    `info.context["folder"]`, and reports what is wrong in such a file by an error of the type IN_FILE.
    """
    try:
        made = model.model_validate(values, context={"folder": folder})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        faults.take(fault for each in details for fault in each.get("ctx", {}).get(IN_FILE, ()))
        # What may be absent has None as one alternative, which nobody who writes a value means.
        details = [each for each in details if each["type"] not in (IN_FILE, "none_required")]
        found = [(each, Place(entry, mark, each)) for each in details]
        for group in _groups([(each, place) for each, place in found if not place.broken]):
            _report(group, model, known, faults)
        return None
    return None if _booleans_for_numbers(entry, model, faults) else made


def _booleans_for_numbers(entry: Node, model: type[BaseModel], faults: Faults) -> bool:
    """Add a fault for each true or false where a number belongs: pydantic would take them for 1 and 0."""
    wrong = False
    for path, scalar in paths(entry):
        if isinstance(scalar.value, bool):
            types = {place.get("type") for place in _at(_schema(model), path)}
            if types & {"integer", "number"} and "boolean" not in types:
                faults.add(scalar.mark, f"{str(path[-1])!r} must be a number, not {scalar.source}")
                wrong = True
    return wrong


def _groups(found: Iterable[_Found]) -> Iterable[list[_Found]]:
    """Join what the alternatives of one union have to say about the same value."""
    groups: dict[object, list[_Found]] = {}
    for index, (details, place) in enumerate(found):
        groups.setdefault(index if place.union is None else place.union, []).append((details, place))
    return groups.values()


def _report(group: list[_Found], model: type[BaseModel], known: Iterable[str], faults: Faults) -> None:
    """Report each alternative that the value has the shape of; where there is none, what it may be."""
    shaped = [(details, place) for details, place in group if place.deeper or wants(details) is None]
    for details, place in shaped:
        if details["type"] == "extra_forbidden":
            faults.add(place.key_mark, _unknown_key(place, model, known, faults))
        else:
            faults.add(place.mark, redact(explain([(details, place)]), place.used))
    if not shaped:
        place = group[0][1]
        faults.add(place.mark, redact(explain(group), place.used))


def _unknown_key(place: Place, model: type[BaseModel], known: Iterable[str], faults: Faults) -> str:
    above = place.path[:-1]
    words = [*properties(_schema(model), above), *(() if above else known)]
    return f"unknown key {shown(place.name)}{faults.nearest(place.name, words)}"


@lru_cache(maxsize=64)
def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    return model.model_json_schema()


def properties(schema: Mapping[str, Any], path: Iterable[int | str]) -> list[str]:
    """Give the keys that a JSON Schema knows at a path."""
    return [key for place in _at(schema, path) for key in place.get("properties", {})]


def _at(schema: Mapping[str, Any], path: Iterable[int | str]) -> list[Mapping[str, Any]]:
    """Give the schemas, one for each alternative, of what stands at a path."""
    places = [schema]
    for part in path:
        places = [below for place in _alternatives(places, schema) for below in _below(place, part)]
    return _alternatives(places, schema)


def _alternatives(places: Iterable[Mapping[str, Any]], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for place in places:
        if "$ref" in place:
            found += _alternatives([root["$defs"][place["$ref"].rpartition("/")[2]]], root)
        else:
            found.append(place)
            found += _alternatives(
                [*place.get("anyOf", ()), *place.get("oneOf", ()), *place.get("allOf", ())], root
            )
    return found


def _below(place: Mapping[str, Any], part: int | str) -> list[Mapping[str, Any]]:
    if isinstance(part, int):
        candidates = [place.get("items")]
    else:
        candidates = [place.get("properties", {}).get(part, place.get("additionalProperties"))]
    return [candidate for candidate in candidates if isinstance(candidate, Mapping)]
