"""One Mixer for many attacks, and a Rack beside them that must not be disturbed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fluxrig.bus import LeafRemote
from mixer.folder import Folder

from ..enrolled import Box, Office
from .raw_leaf import RawLeaf, raw_leaf
from .site import Centre, HonestRack, centre, honest, refusals, until

GOOD = "good"
OTHER = "other"
"""A second project."""


class Heard(logging.Handler):
    """What the Mixer's log says."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class Plant:
    """`good` goes on committing whatever the others do."""

    folder: Path
    office: Office
    centre: Centre
    good: HonestRack
    heard: Heard
    _told: int = field(default=0)

    def box(self, rack: str, project: str = "default") -> Box:
        return Box(self.folder / project / rack, rack, f"acme/{rack}", project)

    def remote(self, rack: str, project: str = "default") -> LeafRemote:
        return self.box(rack, project).remote(self.centre.port)

    def enrol(self, rack: str, project: str = "default") -> Box:
        """Let a Rack in while the Mixer runs."""
        box = self.box(rack, project)
        self.office.registry = self.centre.registry
        self.office.enrol(box)
        return box

    @asynccontextmanager
    async def leaf(self, rack: str, project: str = "default") -> AsyncIterator[RawLeaf]:
        """A leaf that has been let in with what `rack` has, and may do as it likes."""
        async with raw_leaf(self.remote(rack, project), rack) as leaf:
            yield leaf

    async def undisturbed(self) -> None:
        """Have the good Rack store something more, and see it committed."""
        await self.good.store(10)
        await self.good.flushed()

    async def refusal(self) -> str:
        """Give the one line of the log that tells of a refusal since the last call."""
        await until(self._new, 5.0)
        line, *more = self._new()
        self._told += 1 + len(more)
        assert more == []
        return line

    def nothing_said(self) -> bool:
        return not self._new()

    def _new(self) -> list[str]:
        return refusals(self.heard.lines)[self._told :]


@asynccontextmanager
async def plant(folder: Path, *racks: str) -> AsyncIterator[Plant]:
    """A Mixer with `good` and `racks` in each of two projects."""
    heard = Heard()
    log = logging.getLogger("fluxrig.mixer")
    log.addHandler(heard)
    log.setLevel(logging.INFO)
    data = Folder(folder / "mixer")
    office = Office(data)
    office.authority.add_project(OTHER)
    good = Box(folder / "default" / GOOD, GOOD, f"acme/{GOOD}")
    office.enrol(good)
    try:
        async with centre(data) as one, honest(good, one.port) as rack:
            site = Plant(folder, office, one, rack, heard)
            for name in racks:
                for project in ("default", OTHER):
                    site.enrol(name, project)
            await site.undisturbed()
            yield site
    finally:
        log.removeHandler(heard)
