"""How a Mixer is: asked of the running one, or read from its data folder."""

from __future__ import annotations

import json
from typing import Any

from fluxrig.errors import BusError
from mixer.audit.manifest import DEFAULT_PROJECT
from mixer.audit.source import source
from mixer.audit.state import Progress, load
from mixer.authority.identity import RACKS
from mixer.enrolment.registry import Registry
from mixer.folder import Folder
from mixer.project import STREAMS, stored
from mixer.service import STATUS, told

ANSWER_S = 3.0


async def status(folder: Folder) -> dict[str, Any]:
    """Give `running`, `data`, `racks`, `streams`, and of a running Mixer also `pid` and `hub`."""
    answer = await _ask(folder)
    return {"running": answer is not None, "data": str(folder.path), **(answer or _at_rest(folder))}


async def _ask(folder: Folder) -> dict[str, Any] | None:
    if folder.running() is None:
        return None
    try:
        async with await folder.reach("mixer status", ANSWER_S) as bus:
            answer: dict[str, Any] = json.loads(await bus.request(STATUS, b"", ANSWER_S))
            return answer
    except BusError:
        return None


def _at_rest(folder: Folder) -> dict[str, Any]:
    found = load(source(folder.store)).streams
    streams = {(DEFAULT_PROJECT, stream): Progress() for stream in STREAMS} | found
    racks = [told(rack) for rack in Registry(folder.identity / RACKS).all()]
    return {"racks": racks, "streams": [stored(*where, progress) for where, progress in streams.items()]}
