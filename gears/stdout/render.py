"""Messages as lines of text. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from fluxrig.cbor import diagnose
from fluxrig.codec import encode
from fluxrig.message import FluxMsg


def to_json(message: FluxMsg) -> str:
    """Give one JSON object: ids as UUIDs, other bytes as hex, NaN and infinities as text (JSON has none)."""
    fields = {**message.fields}
    for name in ("id", "ref"):
        if name in fields:
            fields[name] = str(UUID(bytes=fields[name]))
    try:
        return _dump(fields)
    except (ValueError, TypeError):
        return _dump(_sayable(fields))


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other)


def _other(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else diagnose(value)


def _sayable(value: Any) -> Any:
    """Write as text what JSON can't say: NaN, the infinities, and keys that are no text."""
    if isinstance(value, float) and not math.isfinite(value):
        return diagnose(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else diagnose(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(item) for item in value]
    return value


def to_diagnostic(message: FluxMsg) -> str:
    """Give diagnostic notation (RFC 8949 §8)."""
    return diagnose(message.fields)


def to_hex(message: FluxMsg) -> str:
    return encode(message).hex()


RENDER: Final[Mapping[str, Callable[[FluxMsg], str]]] = {
    "json": to_json,
    "diagnostic": to_diagnostic,
    "hex": to_hex,
}
