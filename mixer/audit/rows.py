"""From one message that the hub stored to its rows.

It carries one fluxMsg or many. What can't be decoded, or came before, is set aside in the quarantine table
with its bytes and the reason, so that nothing is lost and nothing is there twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from fluxrig.bus import Stored
from fluxrig.codec import decode_sequence_strict
from fluxrig.message import TAGS, FluxMsg
from mixer.audit.origin import Marks, Origin, origin
from mixer.audit.values import json_text, sample

Row = tuple[Any, ...]

_LAST_NS: Final = (1 << 63) - 2
"""The last nanosecond that a 64-bit time column holds: DuckDB reads the one after as infinity."""


@dataclass(slots=True)
class Rows:
    """The rows of one stored message, by table, in the column order of `tables.py`."""

    stored: Stored
    origin: Origin
    messages: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)


def rows_of(stream: str, stored: Stored, marks: Marks) -> Rows:
    """Make the rows of one stored message. Whatever it holds, this does not raise."""
    rows = Rows(stored, origin(stored))
    try:
        pairs = decode_sequence_strict(stored.payload)
        repeated = marks.repeated(rows.origin, len(pairs))
        for index, (message, cbor) in enumerate(pairs[repeated:], repeated):
            row = _message_row(stream, rows, index, message, cbor)
            rows.messages.append(row)
            if message.schema == TAGS:
                rows.samples.extend(_sample_rows(row, message))
    except Exception as error:  # noqa: BLE001 - a message may be anything; the ones behind it must go on
        marks.repeated(rows.origin, rows.origin.messages)
        return set_aside(stream, rows, f"{type(error).__name__}: {error}")
    if repeated:
        rows.quarantine = [_quarantine_row(stream, rows, f"{repeated} of {len(pairs)} messages came before")]
    return rows


def set_aside(stream: str, rows: Rows, reason: str) -> Rows:
    """Put a stored message into quarantine as it is, in place of its rows."""
    return Rows(rows.stored, rows.origin, quarantine=[_quarantine_row(stream, rows, reason)])


def _quarantine_row(stream: str, rows: Rows, reason: str) -> Row:
    stored, (rack, leaf, leaf_seq, _) = rows.stored, rows.origin
    return (stream, stored.seq, leaf, leaf_seq, stored.time_ns, rack, stored.subject, reason, stored.payload)


def _message_row(stream: str, rows: Rows, index: int, message: FluxMsg, cbor: bytes) -> Row:
    fields = message.fields
    rack, _, gear = message.src.partition("/")
    ref, trace, meta, data = fields.get("ref"), fields.get("trace"), fields.get("meta"), fields.get("data")
    leaf, first = rows.origin.leaf, rows.origin.leaf_seq
    return (
        stream,
        rows.stored.seq,
        leaf,
        None if first is None else first + index,
        uuid_text(message.id),
        _time(message.ts),
        rows.stored.time_ns,
        rack,
        gear or None,
        message.uns,
        message.schema,
        None if ref is None else uuid_text(ref),
        None if trace is None else f"{trace[:16].hex()}-{trace[16:].hex()}",
        json_text(meta) if meta else None,
        json_text(data) if data else None,
        fields.get("raw"),
        cbor,
    )


def _sample_rows(row: Row, message: FluxMsg) -> Iterator[Row]:
    """Make a row for each tag, from the message and its own row."""
    seq, id_text, ts, rack, uns = row[1], row[4], row[5], row[7], row[9]
    meta = message.meta
    for tag, value in message.data.items():
        quality, unit = "bad" if value is None else "good", None
        if meta:
            quality, unit = meta.get(f"quality.{tag}") or quality, meta.get(f"unit.{tag}")
        yield (ts, uns, tag, *sample(value), quality, unit, rack, id_text, seq)


def uuid_text(value: bytes) -> str:
    """Give 16 bytes in the text form of RFC 9562 §4. Raises ValueError for any other length."""
    text = value.hex()
    if len(text) != 32:
        raise ValueError(f"an id has 16 bytes, not {len(value)}")
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _time(ns: int) -> int | None:
    return ns if ns <= _LAST_NS else None
