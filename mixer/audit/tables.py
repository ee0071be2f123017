"""The tables of the audit store. A new column is added here and filled in `rows.py`.

Times are UTC in nanoseconds. Ids are text in the form of RFC 9562, which every Parquet reader can show,
compare and join. `stream_seq` numbers what the hub stored, `leaf_seq` what one leaf's store accepted, without
a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    order: tuple[str, ...] = ()
    """Text columns by which the rows of a file are in order, then by `ts`; else they are as they came."""
    sought: tuple[str, ...] = ()
    """Columns of single values that are looked for, so that a bloom filter pays."""
    encodings: tuple[tuple[str, str], ...] = ()
    """Columns with an encoding of their own: ids that grow share their start with the one before."""
    derived: bool = False
    """Follows from the messages of the same commit, and is checked by making it again."""

    def batch(self, columns: Mapping[str, Any]) -> pa.RecordBatch:
        """Give columns, as arrays or values, as one Arrow batch."""
        arrays = [_array(columns[field.name], field.type) for field in self.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def columns_of(table: Table, columns: int) -> pa.Schema:
    """Give the schema that a table had when it had so many columns; 0 stands for all."""
    return pa.schema(list(table.schema)[: columns or None])


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


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
            ("sha256", pa.binary(32)),  # of `cbor`
            ("flags", pa.uint64()),  # bit 0: the Rack accepted it while it had no contact with the Mixer
        ]
    ),
    repeating=("stream", "leaf", "rack", "gear", "uns", "schema", "meta", "flags"),
    bulk=("trace", "meta", "data", "raw", "cbor", "sha256"),
    sought=("id",),
    encodings=(
        ("id", "DELTA_BYTE_ARRAY"),
        ("stream_seq", "DELTA_BINARY_PACKED"),
        ("leaf_seq", "DELTA_BINARY_PACKED"),
    ),
)

SAMPLES: Final = Table(
    "samples",
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            ("tag", _TEXT),
            ("value", pa.float64()),  # every number, and booleans as 0 and 1
            ("value_int", _INT),  # integers, exact
            ("value_bool", pa.bool_()),
            ("text", _TEXT),  # texts, integers beyond 64 bits, bytes as hex, lists and maps as JSON
            ("quality", _TEXT),  # "good", or what the source said
            ("unit", _TEXT),
            ("rack", _TEXT),
            ("id", _TEXT),
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "tag", "text", "quality", "unit", "rack"),
    order=("uns", "tag"),
    encodings=(
        ("id", "DELTA_BYTE_ARRAY"),
        ("ts", "DELTA_BINARY_PACKED"),
        ("stream_seq", "DELTA_BINARY_PACKED"),
    ),
    derived=True,
)

TRANSACTIONS: Final = Table(
    "transactions",  # ot.transaction/1: one exchange with a device
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            ("client", _TEXT),
            ("server", _TEXT),
            ("unit", _INT),
            ("function", _INT),  # the code
            ("operation", _TEXT),  # its name
            ("register", _TEXT),  # coil, discrete, holding or input
            ("address", _INT),
            ("quantity", _INT),
            ("read", _TEXT),  # JSON
            ("written", _TEXT),  # JSON
            ("status", _TEXT),
            ("exception", _TEXT),
            ("latency_us", _INT),
            ("tid", _INT),
            ("reason", _TEXT),
            ("rack", _TEXT),
            ("id", _TEXT),
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "client", "server", "operation", "register", "status", "exception", "reason", "rack"),
    bulk=("read", "written"),
    derived=True,
)

ANOMALIES: Final = Table(
    "anomalies",  # ot.anomaly/1: what a protocol does not allow, or what looks like trouble
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            ("code", _TEXT),
            ("severity", _TEXT),
            ("detail", _TEXT),
            ("count", _INT),
            ("evidence", _TEXT),  # JSON: all else that was seen
            ("rack", _TEXT),
            ("id", _TEXT),
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "code", "severity", "detail", "rack"),
    bulk=("evidence",),
    derived=True,
)

CHANGES: Final = Table(
    "changes",  # ot.value/1: a register or coil that was seen to change
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            ("server", _TEXT),
            ("client", _TEXT),  # who wrote it, if that was the cause
            ("unit", _INT),
            ("register", _TEXT),
            ("address", _INT),
            ("name", _TEXT),  # of the tag, where a device's tags are known
            ("type", _TEXT),
            ("old", _TEXT),  # JSON
            ("new", _TEXT),  # JSON
            ("value", pa.float64()),  # `new`, where it is a number or boolean
            ("cause", _TEXT),
            ("rack", _TEXT),
            ("id", _TEXT),
            ("ref", _TEXT),  # the exchange that showed it
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "server", "client", "register", "name", "type", "cause", "rack"),
    bulk=("old", "new"),
    derived=True,
)

ASSETS: Final = Table(
    "assets",  # ot.asset/1: what is known of an IP address; the newest row of an address has all of it
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            ("ip", _TEXT),
            ("mac", _TEXT),  # JSON, as are the three behind it
            ("roles", _TEXT),
            ("protocols", _TEXT),
            ("units", _TEXT),
            ("vendor", _TEXT),
            ("product", _TEXT),
            ("model", _TEXT),
            ("firmware", _TEXT),
            ("name", _TEXT),
            ("first_seen", _TIME),
            ("last_seen", _TIME),
            ("evidence", _TEXT),  # JSON: the frame that each thing is known from
            ("rack", _TEXT),
            ("id", _TEXT),
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "ip", "mac", "roles", "protocols", "units", "vendor", "product", "model", "rack"),
    bulk=("mac", "evidence"),
    derived=True,
)

LINKS: Final = Table(
    "links",  # ot.link/1: what one client and one server had to do with each other so far
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            ("client", _TEXT),
            ("server", _TEXT),
            ("protocol", _TEXT),
            ("first_seen", _TIME),
            ("last_seen", _TIME),
            ("exchanges", _INT),
            ("error_rate", pa.float64()),
            ("period_us", _INT),  # of its most frequent request
            ("jitter_us", _INT),
            ("functions", _TEXT),  # JSON, as are the three behind it
            ("statuses", _TEXT),
            ("ranges", _TEXT),
            ("polls", _TEXT),
            ("rack", _TEXT),
            ("id", _TEXT),
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "client", "server", "protocol", "rack"),
    bulk=("functions", "statuses", "ranges", "polls"),
    derived=True,
)

COUNTERS: Final = (
    "packets",
    "bytes",
    "kernel_drops",
    "not_ip_tcp_udp",
    "link_unknown",
    "fragments",
    "fragmented_joined",
    "fragmented_lost",
    "decode_errors",
    "connections",
    "evicted",
    "retransmitted",
    "out_of_order",
    "gaps",
    "strays",
    "lost_bytes",
    "truncated_bytes",
    "adus",
    "pending",
    "messages",
    "anomalies",
)
CAPTURES: Final = Table(
    "captures",  # ot.capture/1: the counters of a capture since its start, among them what was lost
    pa.schema(
        [
            ("ts", _TIME),
            ("uns", _TEXT),
            *((name, _INT) for name in COUNTERS),
            ("rack", _TEXT),
            ("id", _TEXT),
            ("stream_seq", _INT),
        ]
    ),
    repeating=("uns", "rack"),
    derived=True,
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

TABLES: Final = {
    table.name: table
    for table in (
        MESSAGES,
        SAMPLES,
        TRANSACTIONS,
        CHANGES,
        ANOMALIES,
        ASSETS,
        LINKS,
        CAPTURES,
        QUARANTINE,
    )
}


def hive(*, hours: bool) -> pa.Schema:
    """Give the columns that are in the paths of files alone; `hours`: of partitions by hour."""
    fields = [("project", pa.string()), ("date", pa.date32())]
    return pa.schema([*fields, *([("hour", pa.int32())] if hours else [])])
