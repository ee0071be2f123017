"""An audit store in a bucket while the Mixer runs: who may write, and what waits is shipped."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from mixer.audit.lease import TIME_S, Lease
from mixer.audit.spool import Spool

_IDLE_S: Final = 0.2
_BACKOFF_S: Final = (0.5, 15.0)
_ATTEMPT_S: Final = 1.0

_log = logging.getLogger("fluxrig.audit")


async def take(lease: Lease, stop: asyncio.Event) -> bool:
    """Wait until the lease is ours; False when stopped before. One line says who has it."""
    told = ""
    while not stop.is_set():
        try:
            if await asyncio.to_thread(lease.take):
                if not await asyncio.to_thread(lease.is_exclusive):
                    _log.warning(
                        "the bucket ignores If-None-Match: be sure that no other Mixer writes to it, ever"
                    )
                return True
            reason = f"standing by: {lease.holder} writes to the bucket"
        except OSError as error:
            lease.forget()
            reason = f"the bucket can't be reached, it is tried again: {error}"
        if reason != told:
            _log.info("%s", reason)
            told = reason
        with suppress(TimeoutError):
            async with asyncio.timeout(_ATTEMPT_S):
                await stop.wait()
    return False


class Shipping:
    """Ships what is committed. `trouble` is what keeps it from that at the moment, in one line."""

    def __init__(self, spool: Spool, lease: Lease) -> None:
        self.trouble = ""
        self._spool = spool
        self._lease = lease

    async def run(self) -> None:
        """Ship until cancelled. Raises Fenced when another Mixer has taken over."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_lease(), name="lease")
            tasks.create_task(self._ship(), name="ship")

    async def finish(self) -> None:
        """Ship what is left, if the bucket is there, and let another Mixer take over at once."""
        try:
            while await asyncio.to_thread(self._spool.ship):
                pass
        except OSError as error:
            _log.warning("not all is shipped, the rest waits here for the next start: %s", error)
        await asyncio.to_thread(self._lease.release)

    async def _keep_lease(self) -> None:
        while True:
            with suppress(OSError):  # away: who waits for the lease can't see it either
                await asyncio.to_thread(self._lease.renew)
            await asyncio.sleep(TIME_S / 3)

    async def _ship(self) -> None:
        delay = _BACKOFF_S[0]
        while True:
            try:
                has_more = await asyncio.to_thread(self._spool.ship)
            except OSError as error:
                self._tell(f"the bucket takes nothing: {error}; it is tried again")
                await asyncio.sleep(delay)
                delay = min(2 * delay, _BACKOFF_S[1])
            else:
                self._tell("")
                delay = _BACKOFF_S[0]
                await asyncio.sleep(0 if has_more else _IDLE_S)

    def _tell(self, trouble: str) -> None:
        if bool(trouble) != bool(self.trouble):
            _log.log(*(logging.ERROR, trouble) if trouble else (logging.INFO, "the bucket takes again"))
        self.trouble = trouble
