"""The columns of the table `messages`: those that follow from the message itself, a run of them at a time.

Whoever has the canonical bytes gets the same columns again, and that is how they are verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import pyarrow as pa

from mixer.audit.tables import MESSAGES
from mixer.audit.values import json_text

Fields = Sequence[dict[str, Any]]
Columns = dict[str, pa.Array]

PLACE: Final = ("stream", "stream_seq", "received", "leaf", "leaf_seq")
"""The columns that say where a message was: the hub's and the leaf's word, not the message's."""

_LAST_NS: Final = (1 << 63) - 2
"""The last nanosecond that a 64-bit time column holds: DuckDB reads the one after as infinity."""
_DIGITS: Final = (*range(8), *range(9, 13), *range(14, 18), *range(19, 23), *range(24, 36))
"""Where in the text form of a UUID its hex digits are (RFC 9562 §4)."""


def derive(fields: Fields, cbor: Sequence[bytes]) -> Columns:
    """Give every column of `messages` but those of `PLACE`."""
    sources = _Sources()
    origins = [sources[one["src"]] for one in fields]
    columns: dict[str, Any] = {
        "id": uuid_texts([one["id"] for one in fields]),
        "ts": [ns if ns <= _LAST_NS else None for ns in (one["ts"] for one in fields)],
        "rack": [rack for rack, _ in origins],
        "gear": [gear for _, gear in origins],
        "uns": [one["uns"] for one in fields],
        "schema": [one["schema"] for one in fields],
        "ref": [None if ref is None else uuid_text(ref) for ref in _get(fields, "ref")],
        "trace": [None if trace is None else _trace(trace) for trace in _get(fields, "trace")],
        "meta": _jsons(_get(fields, "meta")),
        "data": [json_text(data) if data else None for data in _get(fields, "data")],
        "raw": [*_get(fields, "raw")],
        "cbor": cbor,
        "sha256": [sha256(one).digest() for one in cbor],
    }
    return {name: _array(name, values) for name, values in columns.items()}


def uuid_texts(ids: Sequence[bytes]) -> pa.Array:
    """Give ids of 16 bytes as text in the form of RFC 9562 §4, all at once. Raises ValueError."""
    digits = b"".join(ids).hex().encode()
    if len(digits) != 32 * len(ids) or any(len(one) != 16 for one in ids):
        raise ValueError("an id has 16 bytes")
    texts = bytearray(b"-" * (36 * len(ids)))
    for place, digit in enumerate(_DIGITS):
        texts[digit::36] = digits[place::32]
    offsets = pa.array(range(0, 36 * len(ids) + 1, 36), pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(len(ids), offsets, pa.py_buffer(bytes(texts)))


def uuid_text(value: bytes) -> str:
    """Give 16 bytes in the text form of RFC 9562 §4. Raises ValueError for any other length."""
    text = value.hex()
    if len(text) != 32:
        raise ValueError(f"an id has 16 bytes, not {len(value)}")
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _array(name: str, values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, MESSAGES.schema.field(name).type)


def _get(fields: Fields, name: str) -> Iterable[Any]:
    return (one.get(name) for one in fields)


def _trace(value: bytes) -> str:
    text = value.hex()
    return f"{text[:32]}-{text[32:]}"


def _jsons(metas: Iterable[dict[str, str] | None]) -> list[str | None]:
    """Give each map as JSON; units and qualities are the same for hours, so that few are written anew."""
    known: dict[tuple[tuple[str, str], ...], str] = {}
    texts: list[str | None] = []
    for meta in metas:
        if not meta:
            texts.append(None)
            continue
        key = tuple(meta.items())
        text = known.get(key)
        if text is None:
            text = known[key] = json_text(meta)
        texts.append(text)
    return texts


class _Sources(dict[str, tuple[str, str | None]]):
    """Rack and gear of each `src`."""

    def __missing__(self, src: str) -> tuple[str, str | None]:
        rack, _, gear = src.partition("/")
        self[src] = found = rack, gear or None
        return found
