"""What a sniff saw, counted: the live table while it goes on, the summary at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fluxrig.cli.sniff_lines import endpoint, function
from fluxrig.message import FluxMsg

if TYPE_CHECKING:
    from rich.table import Table

MAX_ROWS: Final = 10_000
"""Different rows that are counted; what comes beyond is counted in one."""
LIVE_ROWS: Final = 20
_LOSSES: Final = {
    "kernel_drops": "packets dropped by the kernel",
    "lost_bytes": "bytes on the wire that were not captured",
    "truncated_bytes": "bytes cut off by the snap length",
    "fragmented_lost": "fragmented packets that never became whole",
    "decode_errors": "frames with headers that are cut or contradict themselves",
    "link_unknown": "frames of a link layer that can't be read",
    "evicted": "connections, assets and links forgotten for want of room",
}


class Row(NamedTuple):
    client: str
    server: str
    unit: str
    function: str
    status: str


OTHERS: Final = Row("(others)", "", "", "", "")


class Summary:
    """Counts messages."""

    def __init__(self) -> None:
        self.exchanges: Counter[Row] = Counter()
        self.exceptions: Counter[tuple[str, str, str]] = Counter()
        self.anomalies: dict[tuple[str, str, str], int] = {}
        self.assets: dict[str, Mapping[str, Any]] = {}
        self.links: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self.losses: Counter[str] = Counter()
        self._capture: Mapping[str, int] = {}

    @property
    def total(self) -> int:
        return self.exchanges.total()

    def count(self, messages: Iterable[FluxMsg]) -> None:
        for message in messages:
            self._COUNT[message.schema](self, message.data)

    def next_capture(self) -> None:
        """What follows is counted anew by its source: another file."""
        self.losses.update({name: self._capture[name] for name in _LOSSES if self._capture.get(name)})
        self._capture = {}

    def live(self) -> Table:
        """Give the busiest rows as a table."""
        from rich.table import Table

        table = Table(*Row._fields, "exchanges", title=f"Modbus: {self.total:,} exchanges")
        for row, count in self.exchanges.most_common(LIVE_ROWS):
            table.add_row(*row, f"{count:,}")
        return table

    def tables(self) -> list[Table]:
        """Give assets, links, functions, exceptions and anomalies, each as a table, where there are any."""
        counted = [(*row, str(count)) for row, count in sorted(self.exchanges.items())]
        refused = [(*what, str(count)) for what, count in sorted(self.exceptions.items())]
        unusual = [(*what, str(count)) for what, count in sorted(self.anomalies.items())]
        tables = (
            ("Assets", "address roles protocols units device", _assets(self.assets)),
            ("Links", "client server protocol exchanges period jitter errors", _links(self.links)),
            ("Functions", "client server unit function status exchanges", counted),
            ("Exceptions", "server unit exception times", refused),
            ("Anomalies", "code severity what at-least", unusual),
        )
        return [_table(title, names.split(), lines) for title, names, lines in tables if lines]

    def lost(self) -> list[str]:
        """Say what was lost, in whole sentences; nothing when nothing was."""
        self.next_capture()
        return [f"{self.losses[name]:,} {what}" for name, what in _LOSSES.items() if self.losses[name]]

    def _exchange(self, data: Mapping[str, Any]) -> None:
        flow, unit = data["flow"], str(data["target"]["unit"])
        server = endpoint(flow["server"])
        row = Row(flow["client"]["ip"], server, unit, function(data), data["status"])
        self.exchanges[row if row in self.exchanges or len(self.exchanges) < MAX_ROWS else OTHERS] += 1
        if "exception" in data:
            code = data["exception"]["code"]
            key = server, unit, f"{code} {data['exception'].get('name', '')}".rstrip()
            self.exceptions[key if len(self.exceptions) < MAX_ROWS else ("(others)", "", "")] += 1

    def _anomaly(self, data: Mapping[str, Any]) -> None:
        key = data["code"], data["severity"], data["detail"]
        self.anomalies[key] = max(self.anomalies.get(key, 0), data.get("count", 1))

    def _asset(self, data: Mapping[str, Any]) -> None:
        self.assets[data["addresses"]["ip"]] = data

    def _link(self, data: Mapping[str, Any]) -> None:
        self.links[data["client"]["ip"], endpoint(data["server"]), data["protocol"]] = data

    def _counters(self, data: Mapping[str, Any]) -> None:
        self._capture = data

    def _nothing(self, data: Mapping[str, Any]) -> None:
        """A change is told by its line alone."""

    _COUNT: Final = {
        "ot.transaction/1": _exchange,
        "ot.anomaly/1": _anomaly,
        "ot.asset/1": _asset,
        "ot.link/1": _link,
        "ot.capture/1": _counters,
        "ot.value/1": _nothing,
        "fluxrig.tags/1": _nothing,
    }


def _table(title: str, names: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    from rich.table import Table

    table = Table(*names, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def _assets(assets: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            ip,
            ", ".join(data["roles"]),
            ", ".join(data["protocols"]),
            _shortened(data["units"]),
            " ".join(data[name] for name in ("vendor", "model", "firmware") if name in data),
        )
        for ip, data in sorted(assets.items())
    ]


def _links(links: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            *ends,
            str(data["exchanges"]),
            _milliseconds(data.get("period_us")),
            _milliseconds(data.get("jitter_us")),
            f"{data['error_rate']:.1%}",
        )
        for ends, data in sorted(links.items())
    ]


def _milliseconds(us: int | None) -> str:
    return "" if us is None else f"{us / 1000:,.1f} ms"


def _shortened(units: list[int]) -> str:
    return ", ".join(map(str, units[:8])) + (" ..." if len(units) > 8 else "")
