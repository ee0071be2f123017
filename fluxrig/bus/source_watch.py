"""Have a source go on as soon as its leaf is back.

Left to itself, nats-server tries a lost source again after 10 s, 20 s, … up to 2 minutes (server/stream.go,
calculateRetryBackoff). Taking the source out and putting it back starts it at once, behind the last message
that the hub's stream holds of it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from fluxrig.bus.connection import RACK_INBOXES, Bus
from fluxrig.bus.sources import restart_sources, source_api
from fluxrig.bus.streams import SUBJECTS
from fluxrig.errors import BusError

_INTERVAL_S: Final = 0.5
_SILENT_NS: Final = 3_000_000_000  # a source that works is heard from every second, also when it has nothing
_PATIENCE_S: Final = 3.0
_PING_TIMEOUT_S: Final = 1.0

_log = logging.getLogger(__name__)


async def watch_sources(bus: Bus) -> None:
    """Restart sources of the hub that are silent while their leaf answers. Runs until cancelled."""
    loop = asyncio.get_running_loop()
    tried: dict[tuple[str, str], float] = {}
    seen: dict[str, set[str]] = {}
    while True:
        await asyncio.sleep(_INTERVAL_S)
        tried = {key: at for key, at in tried.items() if loop.time() - at < _PATIENCE_S}
        for stream in SUBJECTS:
            try:
                info = await bus.api(f"STREAM.INFO.{stream}")
                before, seen[stream] = seen.get(stream, set()), set(_silent(info))
                silent = [
                    api for api in seen[stream] & before if (stream, api) not in tried
                ]  # a new one gets a moment
                answers = await asyncio.gather(*(_answers(bus, api) for api in silent))
                back = {api for api, there in zip(silent, answers, strict=True) if there}
                tried |= {(stream, api): loop.time() for api in back}
                if back:
                    await restart_sources(bus, stream, back)
            except BusError as error:
                _log.debug("sources of %s can't be watched: %s", stream, error)


def _silent(info: dict[str, Any]) -> list[str]:
    return [
        source_api(source)
        for source in info.get("sources") or []
        if source.get("active", -1) < 0 or source["active"] > _SILENT_NS
    ]


async def _answers(bus: Bus, api: str) -> bool:
    """Tell whether the leaf behind `$JS.<rack>.API` is connected."""
    inbox = f"{RACK_INBOXES}.{api.split('.')[1]}"
    try:
        await bus.request(f"{api}.INFO", timeout_s=_PING_TIMEOUT_S, inbox=inbox)
    except BusError:
        return False
    return True
