"""Messages as lines of text. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

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
    except ValueError:
        return _dump(_finite(fields))


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other)


def _other(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return _float(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _float(value: float) -> str:
    """Give a float as RFC 8949 §8 writes it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def to_diagnostic(value: Any) -> str:
    """Give diagnostic notation (RFC 8949 §8)."""
    if isinstance(value, FluxMsg):
        return to_diagnostic(value.fields)
    if isinstance(value, Mapping):
        return (
            f"{{{', '.join(f'{to_diagnostic(key)}: {to_diagnostic(item)}' for key, item in value.items())}}}"
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(to_diagnostic, value))}]"
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    # JSON writes text, integers, true, false and null as diagnostic notation does.
    return json.dumps(value, ensure_ascii=False, default=str)


def to_hex(message: FluxMsg) -> str:
    return encode(message).hex()


RENDER: Final[Mapping[str, Callable[[FluxMsg], str]]] = {
    "json": to_json,
    "diagnostic": to_diagnostic,
    "hex": to_hex,
}
