"""What is true now, past the backlogs of the Racks: the newest message of each asset, in memory alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fluxrig.clock import Clock, SystemClock
from fluxrig.codec import decode_strict
from fluxrig.errors import CborError
from fluxrig.identity.names import DEFAULT_PROJECT
from mixer.audit.values import json_text
from mixer.folder import Folder
from mixer.health import Health

LIVE: Final = "fluxrig.live.>"
"""Where Racks put what is newest: `fluxrig.live.<UNS path with dots>`."""
ASK: Final = "fluxrig.mixer.live"
MAX_ASSETS: Final = 20_000
MAX_ANSWER: Final = 5_000
ANSWER_S: Final = 3.0
_PREFIX: Final = "fluxrig.live."

_log = logging.getLogger("fluxrig.mixer")


@dataclass(frozen=True, slots=True)
class Newest:
    """One asset's newest message, and when it came here, ns since the Unix epoch."""

    message: Mapping[str, Any]
    came_ns: int


class Live:
    """The newest message of each asset; of too many, those that were silent longest are let go."""

    def __init__(self, health: Health, clock: Clock | None = None) -> None:
        self._health = health
        self._clock = clock or SystemClock()
        self._newest: dict[str, Newest] = {}

    async def take(self, subject: str, payload: bytes) -> bytes:
        """Take one message of a Rack; one that is none, or not of its subject's asset, is passed over."""
        uns = subject.removeprefix(_PREFIX).replace(".", "/")
        try:
            message = decode_strict(payload)
        except CborError as error:
            _log.debug("no live message on %s: %s", subject, error)
            return b""
        if message.uns == uns:
            self._newest.pop(uns, None)
            self._newest[uns] = Newest(message.fields, self._clock.now_ns())
            if len(self._newest) > MAX_ASSETS:
                del self._newest[next(iter(self._newest))]
        return b""

    async def answer(self, _: str, payload: bytes) -> bytes:
        """Answer with what is at and below the UNS path asked for; empty: all."""
        below = payload.decode("utf-8", "replace").strip("/")
        found = sorted(
            (uns, one)
            for uns, one in self._newest.items()
            if f"{uns}/".startswith(f"{below}/" if below else "")
        )
        told = [self._told(uns, one) for uns, one in found[:MAX_ANSWER]]
        return json.dumps({"assets": told, "left_out": len(found) - len(told)}).encode()

    def _told(self, uns: str, one: Newest) -> dict[str, Any]:
        message, now_ns = one.message, self._clock.now_ns()
        rack = str(message["src"]).partition("/")[0]
        return {
            "uns": uns,
            "rack": rack,
            "schema": message["schema"],
            "ts_ns": message["ts"],
            "came_ns": one.came_ns,
            "age_s": round((now_ns - one.came_ns) / 1e9, 3),
            "data": json.loads(json_text(message.get("data", {}))),
            "meta": dict(message.get("meta", {})),
            "audit_behind_s": self._health.behind_s(rack, now_ns),
        }


async def ask(folder: Folder, uns: str, project: str = DEFAULT_PROJECT) -> dict[str, Any] | None:
    """Ask the Mixer that runs on a folder what is true at and below a UNS path; None when none runs."""
    if folder.running() is None:
        return None
    async with await folder.reach("mixer live", ANSWER_S) as bus:
        answer: dict[str, Any] = json.loads(await bus.request(f"{ASK}.{project}", uns.encode(), ANSWER_S))
        return answer
