"""The tables of the `ot.*` schemas: a row for each event, its fields as columns.

A device's peer may send anything: what is not of the type that a column has is null, and `messages.data` has
it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pyarrow as pa

from mixer.audit.bulk.decode import Decoded
from mixer.audit.columns import Columns
from mixer.audit.tables import ANOMALIES, TRANSACTIONS, Table
from mixer.audit.values import json_text

Row = dict[str, Any]

TRANSACTION: Final = "ot.transaction/1"
ANOMALY: Final = "ot.anomaly/1"
_SHARED: Final = ("ts", "uns", "rack", "id", "stream_seq")


def transactions(decoded: Decoded, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Make the rows of the `ot.transaction/1` among some messages."""
    yield _events(TRANSACTIONS, TRANSACTION, _transaction, decoded, columns)


def anomalies(decoded: Decoded, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Make the rows of the `ot.anomaly/1` among some messages."""
    yield _events(ANOMALIES, ANOMALY, _anomaly, decoded, columns)


def _events(
    table: Table, schema: str, row_of: Callable[[Row], Row], decoded: Decoded, columns: Columns
) -> pa.RecordBatch:
    places = [place for place, one in decoded.fields.items() if one["schema"] == schema]
    rows = [row_of(decoded.fields[place].get("data", {})) for place in places]
    taken = pa.array(places, pa.int32())
    own = {name: [row.get(name) for row in rows] for name in table.schema.names if name not in _SHARED}
    return table.batch({**own, **{name: columns[name].take(taken) for name in _SHARED}})


def _transaction(data: Row) -> Row:
    target, op, flow, fault = (_map(data.get(name)) for name in ("target", "op", "flow", "exception"))
    code = _int(fault.get("code"))
    return {
        "client": _end(flow.get("client")),
        "server": _end(flow.get("server")),
        "unit": _int(target.get("unit")),
        "function": _int(op.get("fc")),
        "operation": _text(op.get("name")),
        "register": _text(target.get("table")),
        "address": _int(target.get("address")),
        "quantity": _int(target.get("quantity")),
        "read": _json(data.get("read")),
        "written": _json(data.get("write")),
        "status": _text(data.get("status")),
        "exception": _text(fault.get("name")) or (None if code is None else str(code)),
        "latency_us": _int(data.get("latency_us")),
        "tid": _int(data.get("tid")),
        "reason": _text(data.get("reason")),
    }


def _anomaly(data: Row) -> Row:
    own = ("code", "severity", "detail", "count")
    evidence = {name: value for name, value in data.items() if name not in own}
    return {
        **{name: _text(data.get(name)) for name in own[:3]},
        "count": _int(data.get("count")),
        "evidence": _json(evidence or None),
    }


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _int(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and -1 << 63 <= value < 1 << 63
    return value if fits else None  # type: ignore[return-value]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _json(value: object) -> str | None:
    return None if value is None else json_text(value)


def _end(value: object) -> str | None:
    """Give one end of a flow as `10.20.0.5:502`, IPv6 in brackets."""
    end = _map(value)
    ip, port = _text(end.get("ip")), _int(end.get("port"))
    if ip is None:
        return None
    host = f"[{ip}]" if ":" in ip else ip
    return host if port is None else f"{host}:{port}"
