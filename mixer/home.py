"""Where a Mixer's audit store lives, opened by the one Mixer that may write to it, and kept up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from mixer.audit.bucket import Address
from mixer.audit.lease import Fenced, Lease
from mixer.audit.objects import Objects
from mixer.audit.spool import SPOOL_BYTES, Spool
from mixer.audit.store import AuditStore
from mixer.authority.identity import Authority
from mixer.folder import Folder, FolderTaken
from mixer.policy import Policy
from mixer.schedule import keep_up
from mixer.shipping import Shipping, take

_ATTEMPT_S: Final = 0.25

_log = logging.getLogger("fluxrig.mixer")


@dataclass(frozen=True, slots=True)
class Keeping:
    """How the audit is kept."""

    url: str = ""
    """Of a bucket, such as `s3://bucket/prefix`; else in the data folder."""
    spool_bytes: int = SPOOL_BYTES
    """What may wait on the disk while the bucket is away."""
    standby: bool = False
    """Whether to wait for a Mixer that has the folder, and follow it."""
    hourly: bool | None = None
    """Whether each hour is a partition of its own, not each day; None is for who writes no rows."""
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Home:
    """An open store."""

    store: AuditStore
    authority: Authority
    policy: Policy
    shipping: Shipping | None = None

    async def run(self) -> None:
        """Ship, compact and prune until cancelled. Raises Fenced when another Mixer has taken over."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_up(self.store, self.policy), name="upkeep")
            if self.shipping is not None:
                tasks.create_task(self.shipping.run(), name="shipping")

    @property
    def trouble(self) -> str:
        return self.shipping.trouble if self.shipping else ""


@asynccontextmanager
async def opened(folder: Folder, keeping: Keeping, stop: asyncio.Event) -> AsyncIterator[Home | None]:
    """Open the store of a folder, and close it; None when stopped while waiting for it.

    Raises FolderTaken, or AuditError when the store can't be gone on with.
    """
    with ExitStack() as stack:
        if not await _hold(folder, keeping, stop, stack):
            yield None
            return
        authority = await asyncio.to_thread(folder.authority)
        url = keeping.url or (store if isinstance(store := folder.store, str) else "")
        if not url:
            local = await asyncio.to_thread(AuditStore, folder.audit, key=authority.signing)
            _check_partition(local, keeping)
            yield Home(local, authority, keeping.policy)
            return
        lease = Lease(Objects(Address.parse(url)))
        if not await take(lease, stop):
            yield None
            return
        spool = await asyncio.to_thread(
            Spool, folder.audit, url, limit_bytes=keeping.spool_bytes, key=authority.signing
        )
        _check_partition(spool, keeping)
        with suppress(OSError):  # the next start does it
            await asyncio.to_thread(spool.clean)
        folder.keep_url(url)
        shipping = Shipping(spool, lease)
        try:
            yield Home(spool, authority, keeping.policy, shipping)
        finally:
            with suppress(Fenced):
                await shipping.finish()


def _check_partition(store: AuditStore, keeping: Keeping) -> None:
    if keeping.hourly is not None:
        store.check_partition(hourly=keeping.hourly)


async def _hold(folder: Folder, keeping: Keeping, stop: asyncio.Event, stack: ExitStack) -> bool:
    """Take the folder; as a standby, wait for it, with one line that says so."""
    is_told = False
    while not stop.is_set():
        try:
            stack.enter_context(folder.held())
        except FolderTaken as taken:
            if not keeping.standby:
                raise
            if not is_told:
                _log.info("standing by: %s has it now, this one follows when it ends", taken.holder)
                is_told = True
        else:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(_ATTEMPT_S):
                await stop.wait()
    return False
