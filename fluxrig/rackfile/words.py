"""pydantic's errors in the words of someone who edits a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import ErrorDetails

from fluxrig.rackfile.faults import nearest, shown
from fluxrig.rackfile.nodes import MapNode, Node, ScalarNode
from fluxrig.rackfile.places import Place

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


def explain(details: ErrorDetails, place: Place) -> str:
    kind, context = details["type"], details.get("ctx", {})
    subject = repr(place.name) if place.name else "this"
    if kind == "missing":
        lacks = f"{subject} lacks the key {place.missing!r}"
        return lacks if place.name else f"the key {place.missing!r} is missing"
    if kind in ("value_error", "assertion_error"):
        reason = str(context.get("error", details["msg"]))
        return f"{place.name!r}: {reason}" if place.name else reason
    if isinstance(place.node, ScalarNode) and place.node.value is None:
        return f"{subject} is empty; give it a value"
    if kind in ("literal_error", "enum"):
        return _choice(subject, place, str(context["expected"]))
    if wanted := _wanted(kind, context):
        return f"{subject} must {wanted}, not {_given(place.node)}"
    reason = details["msg"][:1].lower() + details["msg"][1:]
    return f"{place.name!r}: {reason}" if place.name else reason


def _wanted(kind: str, context: Mapping[str, Any]) -> str | None:
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    return _NEEDS.get(_STAGE.sub("", kind))


def alternatives(found: Sequence[tuple[ErrorDetails, Place]]) -> str:
    """Say what one value may be of which no alternative of a union took it."""
    wanted = [_wanted(details["type"], details.get("ctx", {})) for details, _ in found]
    needs = list(dict.fromkeys(need.removeprefix("be ") for need in wanted if need))
    if len(found) > 1 and None not in wanted:
        place = found[0][1]
        return f"{place.name!r} must be {' or '.join(needs)}, not {_given(place.node)}"
    return "; or ".join(dict.fromkeys(explain(details, place) for details, place in found))


def _choice(subject: str, place: Place, expected: str) -> str:
    words = re.findall(r"'([^']*)'", expected)
    given = place.node.source if isinstance(place.node, ScalarNode) else ""
    close = nearest(given, words)
    hint = close if "did you mean" in close else ""
    return f"{subject} must be {expected}, not {_given(place.node)}{hint}"


def _given(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return shown(node.source) if isinstance(node.value, str) else node.source
    if isinstance(node, MapNode):
        return "a mapping" if node.values else "{}"
    return "a list" if node.items else "[]"
