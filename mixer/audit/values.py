"""How a value of a message is shown to analysts: as JSON text, and as a sample's number or text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

_LONGEST_INT_BITS: Final = 4096
"""Python refuses to print integers past 4,300 digits; those longer than this are shown as hex text."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_WRITE: Final[Callable[[Any, int], Iterable[str]]] = (
    c_make_encoder(None, _ENCODER.default, encode_basestring, None, ":", ",", False, False, False)
    if c_make_encoder
    else lambda value, _: _ENCODER.iterencode(value)
)
"""What `_ENCODER.encode` makes anew for each value, and takes longer for than for the value."""


class Sample(NamedTuple):
    """A tag's value by type, as the columns of `samples` have it."""

    value: float | None = None
    value_int: int | None = None
    value_bool: bool | None = None
    text: str | None = None


def json_text(value: Any) -> str:
    """Give a value as JSON (RFC 8259); what JSON has no form for becomes text, see `plain`."""
    try:
        return "".join(_WRITE(value, 0))
    except (TypeError, ValueError):
        return _ENCODER.encode(plain(value))


def rfc3339(ns: int) -> str:
    """Give nanoseconds since the Unix epoch as text in UTC; past the year 9999 as a number."""
    try:
        return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09}Z"
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns"


def plain(value: Any) -> Any:
    """Give a value that JSON can hold: bytes as hex, NaN and infinities by name, keys as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int):
        return hex(value) if value.bit_length() > _LONGEST_INT_BITS else value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else json_text(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | float) else str(value)


def sample(value: Any) -> Sample:
    """Give a tag's value by type. Every number is a double too, the nearest, and booleans are 0 and 1."""
    if isinstance(value, float):
        return Sample(value)
    if isinstance(value, bool):
        return Sample(float(value), None, value)
    if isinstance(value, int):
        if -1 << 63 <= value < 1 << 63:
            return Sample(float(value), value)
        return Sample(_nearest(value), text=str(plain(value)))
    if isinstance(value, bytes):
        return Sample(text=value.hex())
    return Sample(text=value if value is None or isinstance(value, str) else json_text(value))


def _nearest(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None
