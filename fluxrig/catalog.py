"""The catalog: which kinds of gear there are, ours and third parties'.

Our own are the folders of `gears`, found by looking; others register their `Manifest` under the entry-point
group `fluxrig.gears`. A manifest is read without importing the gear's driver.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from fluxrig.errors import FluxrigError
from fluxrig.gear import Manifest

GROUP = "fluxrig.gears"

log = logging.getLogger("fluxrig.catalog")


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
    """Give every kind of gear that this installation has.

    A third party's gear that can't be loaded is left out, with a warning: it must not keep the others away.
    """
    catalog = Catalog(_built_in())
    for entry in entry_points(group=GROUP):
        try:
            catalog.add(_manifest(entry))
        except Exception as error:  # noqa: BLE001 - foreign code, which may raise anything
            package = entry.dist.name if entry.dist else "unknown"
            log.warning("gear %r of package %s can't be used: %s", entry.name, package, error)
    return catalog


def _built_in() -> Iterator[Manifest]:
    rooms = importlib.import_module("gears")
    for module in pkgutil.iter_modules(rooms.__path__):
        yield importlib.import_module(f"gears.{module.name}.config").MANIFEST


def _manifest(entry: EntryPoint) -> Manifest:
    manifest = entry.load()
    if not isinstance(manifest, Manifest):
        raise FluxrigError(f"{entry.value} is not a fluxrig.gear.Manifest")
    return manifest
