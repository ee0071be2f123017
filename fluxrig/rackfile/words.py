"""pydantic's errors in the words of someone who edits a file, each at its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fluxrig.rackfile.environment import redact
from fluxrig.rackfile.faults import Faults, Mark, nearest, shown
from fluxrig.rackfile.nodes import ListNode, MapNode, Node, ScalarNode, scalars

M = TypeVar("M", bound=BaseModel)

_STAGE: Final = re.compile(r"(_attributes)?_(type|parsing|parsing_size|from_float|sub_type|unicode)$")
_NEEDS: Final[Mapping[str, str]] = {
    "string": "be text (in quotes)",
    "int": "be a whole number",
    "float": "be a number",
    "finite_number": "be a finite number",
    "bool": "be true or false",
    **dict.fromkeys(("dict", "mapping", "model", "dataclass"), "be a mapping of 'key: value'"),
    **dict.fromkeys(("list", "tuple", "set", "frozen_set"), "be a list such as [a, b]"),
}
_LIMITS: Final[Mapping[str, str]] = {
    "greater_than": "be more than {gt}",
    "greater_than_equal": "be at least {ge}",
    "less_than": "be less than {lt}",
    "less_than_equal": "be at most {le}",
    "multiple_of": "be a multiple of {multiple_of}",
    "string_too_short": "have at least {min_length} characters",
    "string_too_long": "have at most {max_length} characters",
    "string_pattern_mismatch": "be of the form {pattern}",
    "too_short": "have at least {min_length} entries",
    "too_long": "have at most {max_length} entries",
}


def validate(
    model: type[M], entry: Node, mark: Mark, faults: Faults, *, values: Any, known: Iterable[str] = ()
) -> M | None:
    """Make the model from the values of a node, or add what is wrong with them and give None.

    `mark` is where the entry's name stands; `known` are keys that are valid beside the model's own.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found: dict[tuple[Mark, str], None] = {}
        for details in error.errors(include_url=False, include_input=False):
            place = _Place(entry, mark, details["loc"])
            if not place.broken(details):
                message = (
                    _unknown_key(place, model, known) if _is_extra(details) else _explain(details, place)
                )
                found[place.mark, redact(message, place.used)] = None
        for at, message in found:
            faults.add(at, message)
        return None


def _is_extra(details: ErrorDetails) -> bool:
    return details["type"] == "extra_forbidden"


class _Place:
    """Where in the file an error's `loc` points, and what stands there."""

    def __init__(self, entry: Node, mark: Mark, loc: tuple[int | str, ...]) -> None:
        self.node, self.key_mark, self.name = entry, mark, ""
        self.path: list[int | str] = []
        self.loose = ""
        for part in loc:
            self._step(part)

    def _step(self, part: int | str) -> None:
        node = self.node
        if isinstance(node, MapNode) and part in node.values:
            self.name = str(part)
            self.key_mark, self.node = node.keys[self.name], node.values[self.name]
            self.path.append(part)
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            self.name, self.node = f"item {part + 1} of {self.name}", node.items[part]
            self.key_mark = self.node.mark
            self.path.append(part)
        else:
            self.loose = str(part)  # a missing key, or a name pydantic gives to a branch of a union

    @property
    def mark(self) -> Mark:
        return self.node.mark if isinstance(self.node, ScalarNode) else self.key_mark

    @property
    def used(self) -> dict[str, str]:
        return {name: value for scalar in scalars(self.node) for name, value in scalar.used.items()}

    def broken(self, details: ErrorDetails) -> bool:
        """Whether the error may follow from a value that was reported already."""
        direct = isinstance(self.node, ScalarNode) or details["type"] not in ("missing", "extra_forbidden")
        return direct and any(scalar.broken for scalar in scalars(self.node))


def _explain(details: ErrorDetails, place: _Place) -> str:
    kind, context = details["type"], details.get("ctx", {})
    subject = repr(place.name) if place.name else "this"
    if kind == "missing":
        return (
            f"{subject} lacks the key {place.loose!r}"
            if place.name
            else f"the key {place.loose!r} is missing"
        )
    if kind in ("value_error", "assertion_error"):
        return f"{subject}: {context.get('error', details['msg'])}"
    if isinstance(place.node, ScalarNode) and place.node.value is None:
        return f"{subject} is empty; give it a value"
    if kind in ("literal_error", "enum"):
        return _choice(subject, place, str(context["expected"]))
    if wanted := _wanted(kind, context):
        return f"{subject} must {wanted}, not {_given(place.node)}"
    return f"{subject}: {details['msg'][:1].lower()}{details['msg'][1:]}"


def _wanted(kind: str, context: Mapping[str, Any]) -> str | None:
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    return _NEEDS.get(_STAGE.sub("", kind))


def _unknown_key(place: _Place, model: type[BaseModel], known: Iterable[str]) -> str:
    above = place.path[:-1]
    words = [*properties(model.model_json_schema(), above), *(() if above else known)]
    return f"unknown key {shown(place.name)}{nearest(place.name, words)}"


def _choice(subject: str, place: _Place, expected: str) -> str:
    words = re.findall(r"'([^']*)'", expected)
    given = place.node.source if isinstance(place.node, ScalarNode) else ""
    close = nearest(given, words)
    hint = close if "did you mean" in close else ""
    return f"{subject} must be {expected}, not {_given(place.node)}{hint}"


def _given(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return shown(node.source)
    if isinstance(node, MapNode):
        return "a mapping" if node.values else "{}"
    return "a list" if node.items else "[]"


def properties(schema: Mapping[str, Any], path: Iterable[int | str]) -> list[str]:
    """Give the keys that a JSON Schema knows at a path."""
    places = [schema]
    for part in path:
        places = [below for place in _alternatives(places, schema) for below in _below(place, part)]
    return [key for place in _alternatives(places, schema) for key in place.get("properties", {})]


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
