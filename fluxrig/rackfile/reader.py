"""From the text of a Rack file to what the engine runs, or every fault at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fluxrig.catalog import Catalog
from fluxrig.gear import Manifest
from fluxrig.rackfile import snake, source
from fluxrig.rackfile.environment import Expansion
from fluxrig.rackfile.faults import WHOLE_FILE, Faults, shown
from fluxrig.rackfile.file import GearEntry, RackEntry, gear_name_fault
from fluxrig.rackfile.model import GearSpec, RackSpec, StoreSpec, WireSpec
from fluxrig.rackfile.neighbours import clashes
from fluxrig.rackfile.nodes import MapNode, ScalarNode, compose, data
from fluxrig.rackfile.validation import validate
from fluxrig.rackfile.wiring import Wiring
from fluxrig.uns import path_fault


def load(path: Path, catalog: Catalog, environ: Mapping[str, str], *, secrets: bool = True) -> RackSpec:
    """Read and check a Rack file. Raises ConfigError with every fault in it.

    `secrets=False` checks the file alone, without any join token.
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
    """Check the content of a Rack file without touching the disk, and without any join token."""
    encoded = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return _Reader(catalog, environ or {}, None, Faults(file), secrets=False).read(encoded)


@dataclass(slots=True)
class _Reader:
    catalog: Catalog
    environ: Mapping[str, str]
    folder: Path | None
    """What relative paths in the file begin at; None: the disk is not looked at."""
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
        rack = validate(RackEntry, root, root.mark, self.faults, values=data(root))
        declared = root.values.get("gears")
        entries = declared if isinstance(declared, MapNode) else MapNode(root.mark, {}, {})
        uns = rack.uns if rack else "rack"
        gears = {name: self._gear(name, entries, uns) for name in entries.values}
        clashes(gears, entries, self.faults)
        wires = Wiring(entries, self.catalog, self.faults).read(root.values.get("wires"))
        spec = self._spec(rack, root, gears, wires) if rack is not None else None
        if self.faults or spec is None:
            raise self.faults.error()
        return spec

    def _spec(
        self,
        rack: RackEntry,
        root: MapNode,
        gears: Mapping[str, GearSpec | None],
        wires: tuple[WireSpec, ...],
    ) -> RackSpec:
        link = None
        if rack.snake is not None:
            link = snake.link(rack.snake, self.folder if self.secrets else None, self.environ)
        whole = {name: gear for name, gear in gears.items() if gear is not None}
        kept = rack.store
        store = StoreSpec(kept.max_bytes, kept.max_age, kept.when_full, kept.sync)
        return RackSpec(rack.rack, rack.uns, link, whole, wires, store)

    def _gear(self, name: str, entries: MapNode, above: str) -> GearSpec | None:
        node, mark = entries.values[name], entries.keys[name]
        name_fault = gear_name_fault(name)
        if name_fault:
            self.faults.add(mark, name_fault)
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
        config = validate(
            manifest.config, node, mark, self.faults, values=own, known=common, folder=self.folder
        )
        uns = f"{above}/{(entry and entry.uns) or name}"
        if entry is not None and not name_fault and (fault := path_fault(uns)):
            self.faults.add(mark, fault)
        if entry is None or config is None:
            return None
        return GearSpec(name, manifest.kind, uns, config, entry.process_timeout, entry.isolate)

    def _manifest(self, node: MapNode) -> Manifest | None:
        kind = node.values.get("kind")
        if not isinstance(kind, ScalarNode) or not isinstance(kind.value, str):
            return None
        if kind.value not in self.catalog:
            message = f"there is no kind {shown(kind.source)}{self.faults.nearest(kind.source, self.catalog)}"
            self.faults.add(kind.mark, message)
        return self.catalog.get(kind.value)
