"""pydantic's errors in the words of someone who edits a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic_core import ErrorDetails

from fluxrig.rackfile.faults import nearest, shown
from fluxrig.rackfile.nodes import MapNode, Node, ScalarNode
from fluxrig.rackfile.places import Place

_CHOICES: Final = ("literal_error", "enum")
_STAGE: Final = re.compile(r"(_attributes)?_(type|parsing|parsing_size|from_float|sub_type|unicode)$")
_NEEDS: Final[Mapping[str, str]] = {
    "string": "be text",
    "path": "be text",
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
    "string_too_short": "have characters, at least {min_length}",
    "string_too_long": "have no more than {max_length} characters",
    "string_pattern_mismatch": "be of the form {pattern}",
    **dict.fromkeys(_CHOICES, "be {expected}"),
    "too_short": "have entries, at least {min_length}",
    "too_long": "have no more than {max_length} entries",
}


def explain(group: Sequence[tuple[ErrorDetails, Place]]) -> str:
    """Say what is wrong with one value: one error, or what each alternative of a union has against it."""
    details, place = group[0]
    has_own_words = details["type"] in {"missing", "value_error"}
    if not has_own_words and isinstance(place.node, ScalarNode) and place.node.value is None:
        return f"{place.name!r} is empty; give it a value"
    wanted = [wants(details) for details, _ in group]
    if place.name and None not in wanted:
        return f"{place.name!r} must {_joined(wanted)}, not {_given(place.node)}{_hint(group)}"
    return "; or ".join(dict.fromkeys(_reason(details, place) for details, place in group))


def wants(details: ErrorDetails) -> str | None:
    """Say what a value must be or have, or None where the error has words of its own."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    return _NEEDS.get(_STAGE.sub("", kind))


def _joined(wanted: Sequence[str | None]) -> str:
    first, *rest = dict.fromkeys(need for need in wanted if need)
    return " or ".join([first, *(need.removeprefix("be ") for need in rest)])


def _reason(details: ErrorDetails, place: Place) -> str:
    if details["type"] == "missing":
        lacks = f"{place.name!r} lacks the key {place.missing!r}"
        return lacks if place.name else f"the key {place.missing!r} is missing"
    reason = str(details.get("ctx", {}).get("error", details["msg"][:1].lower() + details["msg"][1:]))
    return f"{place.name!r}: {reason}" if place.name else reason


def _hint(group: Sequence[tuple[ErrorDetails, Place]]) -> str:
    node = group[0][1].node
    if not isinstance(node, ScalarNode):
        return ""
    if not isinstance(node.value, str):
        text_wanted = any(details["type"].startswith("string_type") for details, _ in group)
        return "; put it in quotes" if text_wanted else ""
    return meant([details for details, _ in group], node.source)


def meant(group: Sequence[ErrorDetails], word: str) -> str:
    """Give `; did you mean 'x'?` where a choice is near the word that was given, else nothing."""
    expected = [str(details["ctx"]["expected"]) for details in group if details["type"] in _CHOICES]
    close = nearest(word, [word for each in expected for word in re.findall(r"'([^']*)'", each)])
    return close if "did you mean" in close else ""


def _given(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return shown(node.source) if isinstance(node.value, str) else node.source
    if isinstance(node, MapNode):
        return "a mapping" if node.values else "{}"
    return "a list" if node.items else "[]"
