"""Thresholds: how far a value may move unreported. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_WIDTH: Final = 1e300
_PERCENT: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?%")


@dataclass(frozen=True, slots=True)
class Threshold:
    """An absolute width in the tag's own unit, or percent of the value last reported."""

    width: float = 0.0
    percent: bool = False

    def __str__(self) -> str:
        return f"{self.width:g}%" if self.percent else f"{self.width:g}"


UNCHANGED: Final = Threshold()
"""The threshold of a tag without one of its own: any change is reported."""


def moved(last: Any, value: Any, threshold: Threshold) -> bool:
    """Say whether `value` must be reported when `last` was the value reported before.

    A change of type always is. Numbers are held against the threshold, anything else is reported when it
    differs.
    """
    if type(value) is not type(last):
        return True
    if isinstance(value, float) and math.isnan(value):
        return not math.isnan(last)
    if value == last:
        return False
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return _beyond(last, value, threshold)


def _beyond(last: float, value: float, threshold: Threshold) -> bool:
    try:
        limit = abs(last) * threshold.width / 100 if threshold.percent else threshold.width
        # Written so that NaN, which compares false with everything, and an endless limit count as moved.
        return not abs(value - last) <= limit < math.inf
    except OverflowError:
        return True


def parse_threshold(value: object) -> Threshold:
    """Read `0.5`, or `5%`. Raises ValueError that says what to write."""
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        return Threshold(float(match[1]), percent=True)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_WIDTH:
        return Threshold(float(value))
    raise ValueError(
        f"{str(value)[:32]!r} is not a threshold; write a number in the tag's unit, such as 0.5, or percent "
        "of the value last reported, such as 5%"
    )


def _from_file(value: object) -> Threshold:
    if isinstance(value, Threshold):
        return value
    try:
        return parse_threshold(value)
    except ValueError as error:
        raise PydanticCustomError("threshold", "{reason}", {"reason": str(error)}) from None


ThresholdField: TypeAlias = Annotated[
    Threshold,
    BeforeValidator(_from_file),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$"},
            ],
            "examples": ["5%", 0.5],
        }
    ),
]
"""A threshold in a configuration: a number, or percent as text."""
