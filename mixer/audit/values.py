"""How a value of a message is shown to analysts: as JSON text, and as a sample's number or text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

_EXACT: Final = 1 << 53
"""Up to here every integer is a double."""
_LONGEST_INT_BITS: Final = 4096
"""Python refuses to print integers past 4,300 digits; those longer than this are shown as hex text."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_text(value: Any) -> str:
    """Give a value as JSON (RFC 8259); what JSON has no form for becomes text, see `plain`."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError):
        return _ENCODER.encode(plain(value))


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


def sample(value: Any) -> tuple[float | None, str | None]:
    """Give a tag's value as number and text: one of them, both for integers a double can't hold."""
    if isinstance(value, float):
        return value, None
    if isinstance(value, int):
        if -_EXACT <= value <= _EXACT:
            return float(value), None
        return _nearest(value), str(plain(value))
    if value is None or isinstance(value, str):
        return None, value
    if isinstance(value, bytes):
        return None, value.hex()
    return None, json_text(value)


def _nearest(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None
