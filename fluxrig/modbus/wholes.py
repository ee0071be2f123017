"""What is wrong with a configuration as a whole, such as two tags that overlap, told together with what is
wrong in its parts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Loc: TypeAlias = tuple[int | str, ...]
Found: TypeAlias = tuple[Loc, PydanticCustomError]
M = TypeVar("M", bound=BaseModel)
Faults: TypeAlias = Callable[[M, Sequence[Loc]], list[Found]]
"""Finds what is wrong between the parts of a configuration. Its second argument are the places of parts that
were wrong in themselves, and are therefore left out."""


def validated(
    values: Any, handler: ModelWrapValidatorHandler[M], faults: Faults[M], needed: Mapping[str, str]
) -> M:
    """Validate a configuration in a wrap validator. Raises ValidationError with every fault.

    `needed` are keys that there must be, each with what may stand for it where it is wrong.
    """
    try:
        config = handler(values)
    except ValidationError as error:
        raise _completed(error, values, handler, faults, needed) from None
    if found := faults(config, ()):
        raise ValidationError.from_exception_data("Config", _details(found))
    return config


def _details(found: Iterable[Found]) -> list[InitErrorDetails]:
    return [InitErrorDetails(type=error, loc=loc, input=None) for loc, error in found]


def _completed(
    error: ValidationError,
    values: Any,
    handler: ModelWrapValidatorHandler[M],
    faults: Faults[M],
    needed: Mapping[str, str],
) -> ValidationError:
    """Add what is wrong with the whole, as far as that can be told without the wrong parts."""
    wrong = error.errors(include_url=False)
    locs = [each["loc"] for each in wrong]
    try:
        found = faults(handler(_without(values, locs, needed)), locs)
    except ValidationError:
        return error
    known = [
        InitErrorDetails(
            type=PydanticCustomError(
                each["type"], "{reason}", {**each.get("ctx", {}), "reason": each["msg"]}
            ),
            loc=each["loc"],
            input=each["input"],
        )
        for each in wrong
    ]
    return ValidationError.from_exception_data("Config", known + _details(found)) if found else error


def _without(values: Any, locs: Iterable[Loc], needed: Mapping[str, str]) -> Any:
    """Give a configuration's values without those that errors point at: a tag goes as a whole, and a key that
    must be there gets what may stand for it."""
    return {**needed, **_pruned(values, locs)} if isinstance(values, Mapping) else values


def _pruned(values: Any, locs: Iterable[Loc]) -> Any:
    if not isinstance(values, Mapping):
        return values
    rest = {key: _pruned(value, ()) for key, value in values.items()}
    for loc in locs:
        inner, path = rest, loc
        if path[:1] == ("devices",) and len(path) > 2 and isinstance(rest.get("devices"), dict):
            inner, path = rest["devices"].get(path[1], {}), path[2:]
        if path[:1] == ("tags",) and len(path) > 1 and isinstance(inner.get("tags"), dict):
            inner["tags"].pop(path[1], None)
        elif path and isinstance(inner, dict):
            inner.pop(path[0], None)
    return rest
