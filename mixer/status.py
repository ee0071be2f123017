"""How a Mixer is: asked of the running one, or read from its data folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fluxrig.bus import Bus, Token
from fluxrig.errors import BusError
from mixer.audit.source import source
from mixer.audit.state import Progress, load
from mixer.folder import Folder
from mixer.registry import Registry
from mixer.service import STATUS, STREAMS, stored

ANSWER_S = 3.0


async def status(folder: Folder) -> dict[str, Any]:
    """Give `running`, `data`, `racks`, `streams`, and of a running Mixer also `pid` and `hub`."""
    answer = await _ask(folder)
    return {"running": answer is not None, "data": str(folder.path), **(answer or _at_rest(folder))}


async def _ask(folder: Folder) -> dict[str, Any] | None:
    found = folder.running()
    if found is None:
        return None
    try:
        async with await Bus.connect(found["url"], Token(found["token"]), "mixer status", ANSWER_S) as bus:
            answer: dict[str, Any] = json.loads(await bus.request(STATUS, b"", ANSWER_S))
            return answer
    except (BusError, KeyError):
        return None


def _at_rest(folder: Folder) -> dict[str, Any]:
    found = load(source(folder.store)).streams
    streams = {stream: Progress() for stream in STREAMS} | {stream: one for (_, stream), one in found.items()}
    racks = [asdict(rack) for rack in Registry(folder.racks).racks.values()]
    return {"racks": racks, "streams": [stored(stream, progress) for stream, progress in streams.items()]}
