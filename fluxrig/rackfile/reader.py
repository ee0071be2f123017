"""From the text of a Rack file to what the engine runs, or every fault at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxrig.catalog import Catalog
from fluxrig.gear import Manifest
from fluxrig.rackfile import graph, snake, source
from fluxrig.rackfile.environment import Expansion
from fluxrig.rackfile.faults import WHOLE_FILE, Faults, Mark, shown
from fluxrig.rackfile.file import GearEntry, RackEntry, WireEntry, gear_name_fault
from fluxrig.rackfile.graph import PlacedWire, Ports
from fluxrig.rackfile.model import UPLINK, GearSpec, RackSpec, WireSpec
from fluxrig.rackfile.nodes import ListNode, MapNode, Node, ScalarNode, compose, data
from fluxrig.rackfile.validation import validate
from fluxrig.uns import path_fault


def load(path: Path, catalog: Catalog, environ: Mapping[str, str], *, secrets: bool = True) -> RackSpec:
    """Read and check a Rack file. Raises ConfigError with every fault in it.

    `secrets=False` checks the file alone: a token that is not on this machine is no fault, and stays empty.
    """
    faults = Faults(str(path))
    content = source.read(path, faults)
    return _Reader(catalog, environ, path.parent, faults, secrets=secrets).read(content)


def parse(
    content: bytes | str,
    catalog: Catalog,
    environ: Mapping[str, str] | None = None,
    *,
    file: str = "<text>",
) -> RackSpec:
    """Check the content of a Rack file without touching the disk; the Snake's token stays empty."""
    encoded = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return _Reader(catalog, environ or {}, Path(), Faults(file), secrets=False).read(encoded)


@dataclass(slots=True)
class _Reader:
    catalog: Catalog
    environ: Mapping[str, str]
    folder: Path
    faults: Faults
    secrets: bool = field(kw_only=True)

    def read(self, content: bytes) -> RackSpec:
        root = compose(source.text(content, self.faults), self.faults, Expansion(self.environ))
        if root is None or (isinstance(root, ScalarNode) and root.value is None and not root.broken):
            self.faults.stop(WHOLE_FILE, "the file is empty; begin with rack:, uns:, gears: and wires:")
        if not isinstance(root, MapNode):
            self.faults.stop(
                root.mark, "a Rack file is a mapping that begins with rack:, uns:, gears: and wires:"
            )
        rack = validate(RackEntry, root, Mark(1, 1), self.faults, values=data(root))
        gears_node = root.values.get("gears")
        entries = gears_node if isinstance(gears_node, MapNode) else MapNode(root.mark, {}, {})
        uns = rack.uns if rack else "rack"
        gears = {name: self._gear(name, entries, uns) for name in entries.values}
        wires = self._wires(root.values.get("wires"), entries)
        spec = self._spec(rack, root, gears, wires) if rack is not None else None
        if self.faults or spec is None:
            raise self.faults.error()
        return spec

    def _spec(
        self, rack: RackEntry, root: MapNode, gears: Mapping[str, GearSpec | None], wires: list[PlacedWire]
    ) -> RackSpec:
        link = None
        if rack.snake is not None:
            mark = root.keys["snake"]
            token = ""
            if self.secrets:
                token = snake.token(rack.snake, self.folder, self.environ, mark, self.faults)
            link = snake.link(rack.snake, token)
        whole = {name: gear for name, gear in gears.items() if gear is not None}
        return RackSpec(rack.rack, rack.uns, link, whole, tuple(wire.spec for wire in wires))

    def _gear(self, name: str, entries: MapNode, above: str) -> GearSpec | None:
        node, mark = entries.values[name], entries.keys[name]
        if fault := gear_name_fault(name):
            self.faults.add(mark, fault)
        if not isinstance(node, MapNode):
            if not (isinstance(node, ScalarNode) and node.broken):
                self.faults.add(mark, f"{shown(name)} must be a mapping that begins with kind:")
            return None
        common = GearEntry.model_fields
        values = data(node)
        shared = {key: value for key, value in values.items() if key in common}
        entry = validate(GearEntry, node, mark, self.faults, values=shared)
        manifest = self._manifest(node)
        if manifest is None:
            return None
        own = {key: value for key, value in values.items() if key not in common}
        config = validate(manifest.config, node, mark, self.faults, values=own, known=common)
        uns = f"{above}/{(entry and entry.uns) or name}"
        if entry is not None and (fault := path_fault(uns)):
            self.faults.add(mark, fault)
        if entry is None or config is None:
            return None
        return GearSpec(name, manifest.kind, uns, config, entry.timeout)

    def _manifest(self, node: MapNode) -> Manifest | None:
        kind = node.values.get("kind")
        if not isinstance(kind, ScalarNode) or not isinstance(kind.value, str):
            return None
        if kind.value not in self.catalog:
            message = f"there is no kind {shown(kind.source)}{self.faults.nearest(kind.source, self.catalog)}"
            self.faults.add(kind.mark, message)
        return self.catalog.get(kind.value)

    def _wires(self, node: Node | None, entries: MapNode) -> list[PlacedWire]:
        if not isinstance(node, ListNode):
            return []
        ports = {name: self._ports(entry) for name, entry in entries.values.items()}
        ports[UPLINK] = graph.UPLINK_PORTS
        wires: list[PlacedWire] = []
        sound = True
        for item in node.items:
            made = list(self._wire(item, ports))
            sound = sound and None not in made
            wires += [wire for wire in made if wire is not None]
        graph.duplicates(wires, self.faults)
        graph.loops(wires, self.faults)
        if sound:
            marks = {name: mark for name, mark in entries.keys.items() if name != UPLINK}
            graph.idle_gears(wires, ports, marks, self.faults)
        return wires

    def _ports(self, entry: Node) -> Ports:
        kind: Any = (
            data(entry.values["kind"]) if isinstance(entry, MapNode) and "kind" in entry.values else None
        )
        return Ports.of(self.catalog.get(kind) if isinstance(kind, str) else None)

    def _wire(self, item: Node, ports: Mapping[str, Ports]) -> Iterator[PlacedWire | None]:
        """Give the wires of one entry, with None for each that has a fault."""
        values = data(item)
        if isinstance(values, str):
            values = {"wire": values}
        entry = validate(WireEntry, item, item.mark, self.faults, values=values)
        if entry is None:
            yield None
            return
        text = item.values["wire"] if isinstance(item, MapNode) else item
        try:
            ends = graph.chain(entry.wire, ports)
        except ValueError as error:
            self.faults.add(text.mark, str(error))
            yield None
            return
        for start, end in ends:
            spec = WireSpec(start, end, entry.queue, entry.when_full)
            yield (
                PlacedWire(text.mark, spec)
                if graph.connect(start, end, ports, text.mark, self.faults)
                else None
            )
