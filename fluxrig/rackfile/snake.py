"""The link to the Mixer, as the Rack file and the environment say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fluxrig.identity.address import Address
from fluxrig.identity.join import VARIABLE
from fluxrig.rackfile.file import DEFAULT_PORT, SnakeEntry
from fluxrig.rackfile.model import SnakeSpec


def link(entry: SnakeEntry, folder: Path | None, environ: Mapping[str, str]) -> SnakeSpec:
    """`folder` is that of the Rack file; None where only the file is checked, without any join token."""
    at = Address.parse(entry.mixer, DEFAULT_PORT) if entry.mixer else None
    return SnakeSpec(
        host=at.host if at else "",
        port=at.port if at else 0,
        join_file=folder / entry.join if folder and entry.join else None,
        join=environ.get(VARIABLE, "").strip() if folder else "",
    )
