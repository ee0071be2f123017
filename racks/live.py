"""The live lane: the newest message of each subject, past whatever waits in the store.

At most once a second for each subject, on core NATS, kept by nobody on the way: so people see what is true
now while a backlog goes to the audit in order. It promises freshness alone; the stream promises all else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

from fluxrig.errors import BusError
from fluxrig.uns import SUBJECT_PREFIX

LIVE_PREFIX: Final = "fluxrig.live"
EVERY_S: Final = 1.0
MAX_SUBJECTS: Final = 4096
"""How many subjects may be new within one second; of more, those that came first are sent."""
MAX_BYTES: Final = 64 << 10
"""A message above this is left to the stream."""

log = logging.getLogger("fluxrig.rack")


class LiveLane:
    """Keeps the newest message of each subject until it is sent."""

    def __init__(self, publish: Callable[[str, bytes], Awaitable[None]]) -> None:
        self._publish = publish
        self._newest: dict[str, bytes] = {}
        self._unheard: dict[str, bytes] = {}

    def note(self, subject: str, encoded: bytes) -> None:
        """Take a message on its way to the store; `subject` is its place there."""
        room = subject in self._newest or len(self._newest) < MAX_SUBJECTS
        if room and len(encoded) <= MAX_BYTES:
            self._newest[subject] = encoded

    async def run(self, is_online: Callable[[], bool]) -> None:
        """Send what is new every second until cancelled.

        Behind a backlog on a thin line the Mixer's answers are late, and its Rack thinks it away. So what is
        new goes out in any case, and the newest of each subject once more when the Mixer is there for sure.
        """
        while True:
            await asyncio.sleep(EVERY_S)
            await self._send(is_online())

    async def _send(self, heard: bool) -> None:
        newest, self._newest = self._newest, {}
        unheard = {name: data for name, data in self._unheard.items() if name not in newest}
        if heard:
            newest, self._unheard = unheard | newest, {}
        else:
            self._unheard = dict(islice((newest | unheard).items(), MAX_SUBJECTS))
        for subject, encoded in newest.items():
            try:
                await self._publish(f"{LIVE_PREFIX}{subject.removeprefix(SUBJECT_PREFIX)}", encoded)
            except BusError as error:
                log.debug("nothing live now: %s", error)
                return
