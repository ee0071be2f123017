"""The check that `gears`, `racks` and `mixer` are ours: PyPI has unrelated packages of those names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import fluxrig
from fluxrig.errors import FluxrigError

ROOMS: Final = ("gears", "racks", "mixer")


def check_rooms() -> None:
    """Raise FluxrigError when another package stands in for one of our rooms.

    The four packages are one distribution and so lie side by side. Comparing where they lie takes less than a
    millisecond; `importlib.metadata.packages_distributions()` reads every installed package, 70 ms and more.
    """
    home = Path(fluxrig.__file__).resolve().parent.parent
    foreign = {room: place for room in ROOMS if (place := _source(room)) != home / room / "__init__.py"}
    if not foreign:
        return
    found = ", ".join(f"{room!r} {f'at {place}' if place else 'nowhere'}" for room, place in foreign.items())
    raise FluxrigError(
        f"the packages gears, racks and mixer must be fluxrig's own, in {home}, but Python finds {found}; "
        f"run `pip uninstall {' '.join(foreign)}` and `pip install --force-reinstall fluxrig`, "
        "or use a virtual environment of its own"
    )


def _source(package: str) -> Path | None:
    """Give the file a package would be imported from, without importing it."""
    spec = find_spec(package)
    return Path(spec.origin).resolve() if spec and spec.origin else None
