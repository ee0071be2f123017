"""Diagnostic notation (RFC 8949 §8): CBOR for people to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from cbor2 import CBORSimpleValue, CBORTag, undefined

_WORDS: Final = {None: "null", True: "true", False: "false", undefined: "undefined"}


def diagnose(value: Any) -> str:
    """Write a decoded value in diagnostic notation, on one line."""
    if value is None or value is undefined or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    return _compound(value)


def quote(text: str) -> str:
    """Write text as in JSON, with escapes for all that would move a terminal's cursor or hide itself."""
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in quoted)


def _compound(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{diagnose(key)}: {diagnose(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(diagnose, value)) + "]"
    if isinstance(value, CBORTag):
        return f"{value.tag}({diagnose(value.value)})"
    if isinstance(value, CBORSimpleValue):
        return f"simple({value.value})"
    raise TypeError(f"{type(value).__name__} is not a CBOR value")


def _integer(value: int) -> str:
    """Write in decimal; beyond 1024 bits as the tagged bytes, which Python writes in linear time."""
    if value.bit_length() <= 1024:
        return str(value)
    magnitude = value if value > 0 else -1 - value
    content = magnitude.to_bytes((magnitude.bit_length() + 7) // 8)
    return f"{2 if value > 0 else 3}(h'{content.hex()}')"


def _float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)
