"""Durations as people write them: `100ms`, `10s`, `1h30m`.

`Seconds` is the type of a duration in any configuration: text in the file, seconds as a float in the program.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_S: Final = 366 * 86_400.0
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern}){{1,5}}")


def parse_duration(text: str) -> float:
    """Give the seconds of a text such as `1h30m`. Raises ValueError that says what to write."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(
            f"{text[:32]!r} is not a duration; write a number and its unit, such as 100ms, 2s, 5m or 1h"
        )
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    if not 0 < seconds <= MAX_S:
        raise ValueError(
            f"{text!r} is out of range; a duration is longer than 0 and at most {format_duration(MAX_S)}"
        )
    return seconds


def format_duration(seconds: float) -> str:
    """Give the shortest text that means `seconds`, to the microsecond: 0.1 is `100ms`, 90 is `90s`."""
    if seconds and seconds < 1:
        return f"{round(seconds * 1000, 3):g}ms"
    unit = next((unit for unit in ("d", "h", "m") if seconds and seconds % _UNIT_S[unit] == 0), "s")
    return f"{round(seconds / _UNIT_S[unit], 6):.10g}{unit}"


def format_about(seconds: float) -> str:
    """Give a span as people say it, in its two largest units: 86389 is `23h59m`."""
    rest = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number or parts:
            parts.append(f"{number}{unit}" if number else "")
    return "".join(parts[:2]) or "0s"


def _from_file(value: object) -> float:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None
    hint = f"; write {value}ms or {value}s" if isinstance(value, int) and not isinstance(value, bool) else ""
    reason = f"a duration needs its unit{hint or ', such as 100ms or 2s'}"
    raise PydanticCustomError("duration", "{reason}", {"reason": reason})


Seconds: TypeAlias = Annotated[
    float,
    BeforeValidator(_from_file),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$", "x-type": "duration"}
    ),
]
"""Seconds, longer than 0. In a file: text with a unit; a default in a model: a number of seconds."""
