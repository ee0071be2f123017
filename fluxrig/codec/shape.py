"""What each field of a message holds: `fluxmsg.cddl` as code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from fluxrig.message import OPTIONAL, REQUIRED

Rule: TypeAlias = Callable[[Any], str | None]
"""Says what is wrong with a field's value, or None."""


def fault(fields: object) -> tuple[str, str] | None:
    """Give the field that keeps `fields` from being a message, and why; the name is empty for the whole."""
    if not isinstance(fields, Mapping):
        return "", f"{_kind(fields)} instead of a map"
    for name in REQUIRED:
        if name not in fields:
            return "", f"field {name!r} is missing"
    for name, value in fields.items():
        rule = RULES.get(name)
        reason = f"unknown field {name!r:.64}" if rule is None else rule(value)
        if reason:
            return name if rule else "", reason
    return None


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _is_uint(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _uint(value: object) -> str | None:
    return None if _is_uint(value) else f"must be an unsigned 64-bit integer, not {value!r:.32}"


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else f"must be text, not {_kind(value)}"


def _bytes_of(size: int) -> Rule:
    def rule(value: object) -> str | None:
        if not isinstance(value, bytes):
            return f"must be {size} bytes, not {_kind(value)}"
        return None if len(value) == size else f"must be {size} bytes, not {len(value)}"

    return rule


def _bytes(value: object) -> str | None:
    return None if isinstance(value, bytes) else f"must be bytes, not {_kind(value)}"


def _map(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return f"must be a map, not {_kind(value)}"
    wrong = [key for key in value if not isinstance(key, str)]
    return f"has the key {wrong[0]!r:.64}, which is not text" if wrong else None


def _map_of_text(value: object) -> str | None:
    if (reason := _map(value)) is not None or not isinstance(value, Mapping):
        return reason
    wrong = next((key for key, item in value.items() if not isinstance(item, str)), None)
    return None if wrong is None else f"{wrong!r:.64} must be text, not {_kind(value[wrong])}"


def _path(value: object) -> str | None:
    if not isinstance(value, list | tuple):
        return f"must be an array, not {_kind(value)}"
    return None if all(map(_is_hop, value)) else 'must hold hops ["<rack>/<gear>", ns]'


def _is_hop(hop: object) -> bool:
    return isinstance(hop, list | tuple) and len(hop) == 2 and isinstance(hop[0], str) and _is_uint(hop[1])


def _not_default(rule: Rule) -> Rule:
    """Make the rule of an optional field: so that a message has one form, a default is absent."""
    return lambda value: rule(value) or (None if value else "is at its default, which has to be left out")


RULES: Final[Mapping[str, Rule]] = dict(
    zip(
        REQUIRED + OPTIONAL,
        (
            _bytes_of(16),
            _uint,
            _text,
            _text,
            _text,
            *map(_not_default, (_map, _map_of_text, _bytes, _bytes_of(16), _bytes_of(24), _path, _uint)),
        ),
        strict=True,
    )
)
