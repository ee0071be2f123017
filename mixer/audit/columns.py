"""The columns of the table `messages`: those that follow from the message itself, a run of them at a time.

Whoever has the canonical bytes gets the same columns again, and that is how they are verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.audit.bulk.cells import Cell, hex_texts, times
from mixer.audit.bulk.decode import Decoded, Group
from mixer.audit.bulk.pieces import Pieces
from mixer.audit.tables import MESSAGES
from mixer.audit.values import json_text

Fields = Mapping[int, dict[str, Any]]
"""Messages that were decoded one by one, by their row."""
Columns = dict[str, pa.Array]

PLACE: Final = ("stream", "stream_seq", "received", "leaf", "leaf_seq")
"""The columns that say where a message was: the hub's and the leaf's word, not the message's."""

_LAST_NS: Final = (1 << 63) - 2
"""The last nanosecond that a 64-bit time column holds: DuckDB reads the one after as infinity."""
_TYPES: Final = {
    field.name: field.type for field in MESSAGES.schema if field.name not in {*PLACE, "cbor", "sha256"}
}


def derive(pieces: Pieces, decoded: Decoded) -> Columns:
    """Give every column of `messages` but those of `PLACE`. No piece may be bad."""
    parts = [(group.rows, _of_group(group)) for group in decoded.groups]
    if decoded.fields or not parts:
        parts.append((np.array([*decoded.fields], np.int64), _of_fields([*decoded.fields.values()])))
    columns = {name: merged([(rows, part[name]) for rows, part in parts]) for name in _TYPES}
    digests = b"".join([sha256(one).digest() for one in pieces.to_list()])
    columns["cbor"] = pieces.array()
    columns["sha256"] = pa.Array.from_buffers(pa.binary(32), len(pieces), [None, pa.py_buffer(digests)])
    return columns


def merged(parts: Sequence[tuple[Any, pa.Array]]) -> pa.Array:
    """Put the parts of a column in the order of their rows, which together are all rows."""
    if len(parts) == 1:
        return parts[0][1]
    order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
    return pa.concat_arrays([part for _, part in parts]).take(pa.array(order))


def _of_group(group: Group) -> Columns:
    """Make the columns of messages of one layout."""
    rows, fields, slots = len(group.rows), group.fields, group.slots
    rack, gear = _source(fields["src"])
    same = {"rack": rack, "gear": gear, "uns": fields["uns"], "schema": fields["schema"]}
    same["meta"] = json_text(fields["meta"]) if "meta" in fields else None
    same["flags"] = fields.get("flags", 0)
    columns = {name: pa.repeat(pa.scalar(value, _TYPES[name]), rows) for name, value in same.items()}
    columns["ts"] = times(slots["ts"], _LAST_NS)
    for name in ("id", "ref", "trace"):
        columns[name] = hex_texts(slots[name]) if name in slots else pa.nulls(rows, _TYPES[name])
    columns["raw"] = slots.get("raw", pa.nulls(rows, _TYPES["raw"]))
    columns["data"] = _json(group.cells) if group.cells else pa.nulls(rows, _TYPES["data"])
    return columns


def _json(cells: Sequence[Cell]) -> pa.Array:
    """Give each message's `data` as JSON, as `json_text` does."""
    parts: list[Any] = []
    for cell, before in zip(cells, ("{", *"," * (len(cells) - 1)), strict=True):
        parts += [f"{before}{json_text(cell.tag)}:", cell.json]
    rows = len(cells[0].columns["value"])
    joined = pc.binary_join_element_wise(*parts, "}", "")
    return joined if isinstance(joined, pa.Array) else pa.repeat(joined, rows)


def _of_fields(fields: Sequence[dict[str, Any]]) -> Columns:
    """Make the columns of messages that were decoded one by one."""
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
        "flags": [one.get("flags", 0) for one in fields],
    }
    return {name: _array(name, values) for name, values in columns.items()}


def uuid_texts(ids: Sequence[bytes]) -> pa.Array:
    """Give ids of 16 bytes as text in the form of RFC 9562 §4, all at once. Raises ValueError."""
    if any(len(one) != 16 for one in ids):
        raise ValueError("an id has 16 bytes")
    return hex_texts(np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16))


def uuid_text(value: bytes) -> str:
    """Give 16 bytes in the text form of RFC 9562 §4. Raises ValueError for any other length."""
    text = value.hex()
    if len(text) != 32:
        raise ValueError(f"an id has 16 bytes, not {len(value)}")
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _array(name: str, values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, _TYPES[name])


def _get(fields: Iterable[dict[str, Any]], name: str) -> Iterable[Any]:
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


def _source(src: str) -> tuple[str, str | None]:
    rack, _, gear = src.partition("/")
    return rack, gear or None


class _Sources(dict[str, tuple[str, str | None]]):
    """Rack and gear of each `src`."""

    def __missing__(self, src: str) -> tuple[str, str | None]:
        self[src] = found = _source(src)
        return found
