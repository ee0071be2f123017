"""The tables of the audit store. A new column is added here and filled in `rows.py`.

Times are UTC in nanoseconds. Ids are text in the form of RFC 9562, which every Parquet reader can show,
compare and join. `stream_seq` numbers what the hub stored, `leaf_seq` what one leaf's store accepted, without
a gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

_TIME: Final = pa.timestamp("ns", "UTC")
_TEXT: Final = pa.string()
_INT: Final = pa.int64()
_BYTES: Final = pa.binary()


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns, and which of them repeat so much that a dictionary pays."""

    name: str
    schema: pa.Schema
    repeating: tuple[str, ...]
    bulk: tuple[str, ...] = ()
    """Columns whose smallest and largest value help no query, so that no statistics are kept."""

    def batch(self, rows: Iterable[tuple[Any, ...]]) -> pa.RecordBatch:
        """Give rows, each in the order of the schema, as one Arrow batch."""
        columns = list(zip(*rows, strict=True)) or [()] * len(self.schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


MESSAGES: Final = Table(
    "messages",
    pa.schema(
        [
            ("stream", _TEXT),
            ("stream_seq", _INT),
            ("leaf", _TEXT),  # the id of the leaf's store; with leaf_seq the message's place at its source
            ("leaf_seq", _INT),
            ("id", _TEXT),
            ("ts", _TIME),  # null when past 2262-04-11, where 64 bits of nanoseconds end; `cbor` has it
            ("received", _TIME),  # when the hub stored it
            ("rack", _TEXT),
            ("gear", _TEXT),
            ("uns", _TEXT),
            ("schema", _TEXT),
            ("ref", _TEXT),
            ("trace", _TEXT),  # <trace id>-<span id>, hex
            ("meta", _TEXT),  # JSON
            ("data", _TEXT),  # JSON; bytes as hex, NaN and infinities as the texts NaN, Infinity, -Infinity
            ("raw", _BYTES),
            ("cbor", _BYTES),  # the message itself, in deterministic CBOR: the evidence
        ]
    ),
    repeating=("stream", "leaf", "rack", "gear", "uns", "schema", "meta"),
    bulk=("trace", "meta", "data", "raw", "cbor"),
)

SAMPLES: Final = Table(
    "samples",
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            ("tag", _TEXT),
            ("value", pa.float64()),  # numbers, and booleans as 0 and 1
            ("text", _TEXT),  # texts, integers beyond 2^53 in full, lists and maps as JSON
            ("quality", _TEXT),  # "good", or what the source said
            ("unit", _TEXT),
            ("rack", _TEXT),
            ("id", _TEXT),
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "tag", "text", "quality", "unit", "rack", "id"),
)

QUARANTINE: Final = Table(
    "quarantine",
    pa.schema(
        [
            ("stream", _TEXT),
            ("stream_seq", _INT),
            ("leaf", _TEXT),
            ("leaf_seq", _INT),
            ("received", _TIME),
            ("rack", _TEXT),
            ("subject", _TEXT),
            ("reason", _TEXT),
            ("payload", _BYTES),  # what was stored, byte for byte
        ]
    ),
    repeating=("stream", "leaf", "rack", "subject", "reason"),
    bulk=("payload",),
)

TABLES: Final = {table.name: table for table in (MESSAGES, SAMPLES, QUARANTINE)}
