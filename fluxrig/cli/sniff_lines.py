"""Sniffed events as lines for people, and exchanges as rows of CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fluxrig.message import FluxMsg

MAX_VALUES: Final = 16
"""Values shown in a line for people; CSV has them all."""

COLUMNS: Final = (
    "time",
    "client_ip",
    "client_port",
    "server_ip",
    "server_port",
    "unit",
    "fc",
    "function",
    "table",
    "address",
    "quantity",
    "read",
    "written",
    "status",
    "exception",
    "latency_us",
    "tid",
    "request_frame",
    "response_frame",
    "pairing",
)


def endpoint(end: Mapping[str, Any]) -> str:
    ip = f"[{end['ip']}]" if ":" in end["ip"] else end["ip"]
    return f"{ip}:{end['port']}"


def function(data: Mapping[str, Any]) -> str:
    """Give the name of what was asked for."""
    return str(data["op"].get("name", f"function {data['op']['fc']}"))


def line(message: FluxMsg) -> str:
    """Give one exchange, change or anomaly as a line; inventory and counters give none."""
    make = _LINES.get(message.schema)
    return f"{_stamp(message.ts)} {make(message.data)}" if make else ""


def csv_header() -> str:
    return ",".join(COLUMNS)


def csv_rows(messages: Iterable[FluxMsg]) -> str:
    """Give the exchanges among messages as rows (RFC 4180), without the last line's end."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(_row(message) for message in messages if message.schema == "ot.transaction/1")
    return text.getvalue().rstrip("\n")


def _row(message: FluxMsg) -> list[Any]:
    data = message.data
    target, flow = data["target"], data["flow"]
    time = datetime.fromtimestamp(message.ts // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return [
        f"{time}.{message.ts % 1_000_000_000:09}Z",
        flow["client"]["ip"],
        flow["client"]["port"],
        flow["server"]["ip"],
        flow["server"]["port"],
        target["unit"],
        data["op"]["fc"],
        data["op"].get("name", ""),
        target.get("table", ""),
        target.get("address", ""),
        target.get("quantity", ""),
        _joined(data.get("read", {}).get("values", ())),
        _joined(data.get("write", {}).get("values", ())),
        data["status"],
        data["exception"]["code"] if "exception" in data else "",
        data.get("latency_us", ""),
        data.get("tid", ""),
        data["request"]["frame"] if "request" in data else "",
        data["response"]["frame"] if "response" in data else "",
        data.get("pairing", ""),
    ]


def _joined(values: Iterable[int]) -> str:
    return " ".join(str(int(value)) for value in values)


def _stamp(ts: int) -> str:
    time = datetime.fromtimestamp(ts // 1_000_000_000, UTC).strftime("%H:%M:%S")
    return f"{time}.{ts // 1000 % 1_000_000:06}"


def _exchange(data: Mapping[str, Any]) -> str:
    flow, target = data["flow"], data["target"]
    latency = f" {data['latency_us']} us" if "latency_us" in data else ""
    ends = f"{endpoint(flow['client'])} > {endpoint(flow['server'])}"
    return f"{ends} unit {target['unit']} {function(data)}{_place(target)}: {_outcome(data)}{latency}"


def _place(target: Mapping[str, Any]) -> str:
    if "address" not in target:
        return ""
    quantity = f" x{target['quantity']}" if "quantity" in target else ""
    return f" {target['table']}/{target['address']}{quantity}"


def _outcome(data: Mapping[str, Any]) -> str:
    if "exception" in data:
        return f"exception {data['exception']['code']} {data['exception'].get('name', '')}".rstrip()
    values = (data.get("read") or data.get("write") or {}).get("values")
    if not values:
        return str(data["status"])
    shown = _joined(values[:MAX_VALUES]) + (" ..." if len(values) > MAX_VALUES else "")
    return shown if data["status"] == "ok" else f"{shown} ({data['status']})"


def _change(data: Mapping[str, Any]) -> str:
    name = f" {data['name']}" if "name" in data else ""
    where = f"{endpoint(data['server'])} unit {data['unit']} {data['table']}/{data['address']}{name}"
    old = f"{_value(data['old'])} -> " if "old" in data else ""
    return f"value {where}: {old}{_value(data['new'])} ({data['cause']})"


def _value(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _anomaly(data: Mapping[str, Any]) -> str:
    return f"anomaly {data['code']}: {data['detail']} (frame {data['frame']})"


_LINES: Final = {"ot.transaction/1": _exchange, "ot.value/1": _change, "ot.anomaly/1": _anomaly}
