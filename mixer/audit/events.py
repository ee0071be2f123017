"""The tables of the `ot.*` schemas: a row for each event, its fields as columns.

A device's peer may send anything: what is not of the type that a column has is null, and `messages.data` has
it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import pyarrow as pa

from mixer.audit.bulk.decode import Decoded
from mixer.audit.columns import Columns
from mixer.audit.tables import ANOMALIES, ASSETS, CAPTURES, CHANGES, COUNTERS, LINKS, TRANSACTIONS, Table
from mixer.audit.values import json_text, sample

Row = dict[str, Any]

_SHARED: Final = ("ts", "uns", "rack", "id", "ref", "stream_seq")
_LAST_NS: Final = (1 << 63) - 2
"""See `columns`."""


def events(event: Event, decoded: Decoded, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Make the rows of one table's events among some messages."""
    places = [place for place, one in decoded.fields.items() if one["schema"] == event.schema]
    rows = [event.row(decoded.fields[place].get("data", {})) for place in places]
    taken = pa.array(places, pa.int32())
    names = event.table.schema.names
    own = {name: [row.get(name) for row in rows] for name in names if name not in _SHARED}
    yield event.table.batch({**own, **{name: columns[name].take(taken) for name in _SHARED if name in names}})


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


def _change(data: Row) -> Row:
    new = data.get("new")
    is_number = isinstance(new, int | float)
    return {
        "server": _end(data.get("server")),
        "client": _end(data.get("client")),
        "unit": _int(data.get("unit")),
        "register": _text(data.get("table")),
        "address": _int(data.get("address")),
        **{name: _text(data.get(name)) for name in ("name", "type", "cause")},
        "old": _json(data.get("old")),
        "new": _json(new),
        "value": sample(new).value if is_number else None,
    }


def _asset(data: Row) -> Row:
    addresses = _map(data.get("addresses"))
    return {
        "ip": _text(addresses.get("ip")),
        "mac": _json(addresses.get("mac")),
        **{name: _json(data.get(name)) for name in ("roles", "protocols", "units", "evidence")},
        **{name: _text(data.get(name)) for name in ("vendor", "product", "model", "firmware", "name")},
        **{name: _time(data.get(name)) for name in ("first_seen", "last_seen")},
    }


def _link(data: Row) -> Row:
    rate = data.get("error_rate")
    return {
        **{name: _end(data.get(name)) for name in ("client", "server")},
        "protocol": _text(data.get("protocol")),
        **{name: _time(data.get(name)) for name in ("first_seen", "last_seen")},
        **{name: _int(data.get(name)) for name in ("exchanges", "period_us", "jitter_us")},
        "error_rate": rate if isinstance(rate, float) else None,
        **{name: _json(data.get(name)) for name in ("functions", "statuses", "ranges", "polls")},
    }


def _capture(data: Row) -> Row:
    return {name: _int(data.get(name)) for name in COUNTERS}


class Event(NamedTuple):
    """A table of events of one schema: what it takes of the data of each."""

    table: Table
    schema: str
    row: Callable[[Row], Row]


TABLES_OF_EVENTS: Final = (
    Event(TRANSACTIONS, "ot.transaction/1", _transaction),
    Event(CHANGES, "ot.value/1", _change),
    Event(ANOMALIES, "ot.anomaly/1", _anomaly),
    Event(ASSETS, "ot.asset/1", _asset),
    Event(LINKS, "ot.link/1", _link),
    Event(CAPTURES, "ot.capture/1", _capture),
)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _int(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and -1 << 63 <= value < 1 << 63
    return value if fits else None  # type: ignore[return-value]


def _time(value: object) -> int | None:
    ns = _int(value)
    return ns if ns is not None and 0 <= ns <= _LAST_NS else None


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
