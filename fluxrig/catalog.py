"""The catalog: which kinds of gear there are, ours and third parties'.

Our own are the folders of `gears`, found by looking; others register their `Manifest` under the entry-point
group `fluxrig.gears`. A manifest is read without importing the gear's driver.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points

from fluxrig.errors import FluxrigError
from fluxrig.gear import Manifest

GROUP = "fluxrig.gears"


class Catalog(Mapping[str, Manifest]):
    """Manifests by kind. An object, so that a test can make its own."""

    def __init__(self, manifests: Iterable[Manifest] = ()) -> None:
        self._manifests: dict[str, Manifest] = {}
        for manifest in manifests:
            self.add(manifest)

    def add(self, manifest: Manifest) -> None:
        if manifest.kind in self._manifests:
            raise FluxrigError(f"two gears call themselves {manifest.kind!r}; uninstall one of the packages")
        self._manifests[manifest.kind] = manifest

    def __getitem__(self, kind: str) -> Manifest:
        return self._manifests[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._manifests))

    def __len__(self) -> int:
        return len(self._manifests)


def installed() -> Catalog:
    """Give every kind of gear that this installation has."""
    return Catalog([*_built_in(), *_third_party()])


def _built_in() -> Iterator[Manifest]:
    rooms = importlib.import_module("gears")
    for module in pkgutil.iter_modules(rooms.__path__):
        yield importlib.import_module(f"gears.{module.name}.config").MANIFEST


def _third_party() -> Iterator[Manifest]:
    for entry in entry_points(group=GROUP):
        manifest = entry.load()
        if not isinstance(manifest, Manifest):
            raise FluxrigError(f"entry point {entry.name!r} ({entry.value}) is not a fluxrig.gear.Manifest")
        yield manifest
