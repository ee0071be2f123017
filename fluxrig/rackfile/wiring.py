"""The wires of a Rack file: their text and settings, read and judged against the gears there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fluxrig.catalog import Catalog
from fluxrig.rackfile import graph
from fluxrig.rackfile.environment import redact
from fluxrig.rackfile.faults import Faults, Mark
from fluxrig.rackfile.file import WireEntry
from fluxrig.rackfile.graph import PlacedWire, Ports
from fluxrig.rackfile.model import UPLINK, Endpoint, WireSpec
from fluxrig.rackfile.nodes import ListNode, MapNode, Node, ScalarNode, data
from fluxrig.rackfile.validation import validate


class Wiring:
    """Reads wires between the gears of a file, whether or not the gears themselves are without fault."""

    def __init__(self, gears: MapNode, catalog: Catalog, faults: Faults) -> None:
        self._marks: Mapping[str, Mark] = {name: mark for name, mark in gears.keys.items() if name != UPLINK}
        self._ports = {name: _ports(gears.values[name], catalog) for name in self._marks}
        self._ports[UPLINK] = graph.UPLINK_PORTS
        self._faults = faults

    def read(self, node: Node | None) -> tuple[WireSpec, ...]:
        """Give the wires of a list, adding a fault for each thing wrong with one or with the whole."""
        if not isinstance(node, ListNode):
            return ()
        made = [wire for item in node.items for wire in self._wires(item)]
        wires = [wire for wire in made if wire is not None]
        graph.duplicates(wires, self._faults)
        graph.loops(wires, self._faults)
        if len(wires) == len(made):  # else a gear may seem idle only because its wire has a fault
            graph.idle_gears(wires, self._ports, self._marks, self._faults)
        return tuple(wire.spec for wire in wires)

    def _wires(self, item: Node) -> Iterator[PlacedWire | None]:
        """Give the wires of one entry, with None for each that has a fault."""
        entry = self._entry(item)
        if entry is None:
            yield None
            return
        text = item.values["wire"] if isinstance(item, MapNode) else item
        used = text.used if isinstance(text, ScalarNode) else {}
        try:
            ends = graph.chain(entry.wire, self._ports)
        except ValueError as error:
            self._faults.add(text.mark, redact(str(error), used))
            yield None
            return
        for source, target in ends:
            faults = self._end_faults(source, target)
            for fault in faults:
                self._faults.add(text.mark, redact(fault, used))
            spec = WireSpec(source, target, entry.queue, entry.when_full)
            yield None if faults else PlacedWire(text.mark, spec)

    def _entry(self, item: Node) -> WireEntry | None:
        if isinstance(item, MapNode):
            return validate(WireEntry, item, item.mark, self._faults, values=data(item))
        if isinstance(item, ScalarNode) and isinstance(item.value, str):
            return WireEntry(wire=item.value)
        if not (isinstance(item, ScalarNode) and item.broken):
            message = "a wire is text such as press -> uplink, or {wire: press -> uplink, queue: 1000}"
            self._faults.add(item.mark, message)
        return None

    def _end_faults(self, source: Endpoint, target: Endpoint) -> list[str]:
        suggest = self._faults.nearest
        found = (
            graph.end_fault(source, "output", self._ports, suggest),
            graph.end_fault(target, "input", self._ports, suggest),
        )
        return [fault for fault in found if fault is not None]


def _ports(gear: Node, catalog: Catalog) -> Ports:
    kind = gear.values.get("kind") if isinstance(gear, MapNode) else None
    known = isinstance(kind, ScalarNode) and isinstance(kind.value, str)
    return Ports.of(catalog.get(kind.value) if known and isinstance(kind, ScalarNode) else None)
