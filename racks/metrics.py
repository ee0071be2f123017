"""OpenTelemetry metrics of the engine. Counters are plain integers, read when OpenTelemetry collects.

| instrument | unit | per |
|---|---|---|
| `fluxrig.gear.received`, `.emitted`, `.rejected`, `.dropped` | messages | gear |
| `fluxrig.gear.errors` | failures | gear |
| `fluxrig.gear.waiting` | messages in the input wires | gear |
| `fluxrig.gear.process.duration` | s, one record a batch | gear |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

if TYPE_CHECKING:
    from racks.node import Node

_COUNTERS: dict[str, tuple[str, Callable[[Node], int]]] = {
    "fluxrig.gear.received": ("{message}", lambda node: node.counters.received),
    "fluxrig.gear.emitted": ("{message}", lambda node: node.counters.emitted),
    "fluxrig.gear.rejected": ("{message}", lambda node: node.counters.rejected),
    "fluxrig.gear.dropped": ("{message}", lambda node: sum(wire.dropped for wire in node.inbox.wires)),
    "fluxrig.gear.errors": ("{error}", lambda node: node.counters.errors),
}


class Metrics:
    """The instruments of one engine."""

    def __init__(self, meter: Meter | None = None) -> None:
        meter = meter or get_meter("fluxrig.racks")
        self._nodes: list[Node] = []
        self._duration = meter.create_histogram(
            "fluxrig.gear.process.duration", "s", "time to take one batch"
        )
        for name, (unit, read) in _COUNTERS.items():
            meter.create_observable_counter(name, [self._callback(read)], unit)
        meter.create_observable_gauge("fluxrig.gear.waiting", [self._callback(_waiting)], "{message}")

    def watch(self, node: Node) -> None:
        self._nodes.append(node)

    def observer(self, gear: str) -> Callable[[float], None]:
        attributes = {"gear": gear}
        return lambda elapsed_s: self._duration.record(elapsed_s, attributes)

    def _callback(self, read: Callable[[Node], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _options: [Observation(read(node), {"gear": node.name}) for node in self._nodes]


def _waiting(node: Node) -> int:
    return sum(len(wire) for wire in node.inbox.wires)
