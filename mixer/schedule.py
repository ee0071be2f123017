"""Upkeep by itself: small files are merged, old ones pruned, while the Mixer runs, in a share of a core."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from fluxrig.errors import AuditError
from mixer.audit import compact, retention
from mixer.audit.store import AuditStore
from mixer.audit.upkeep import alone
from mixer.policy import Compaction, Policy

_PRUNE_EVERY_S: Final = 600.0

_log = logging.getLogger("fluxrig.audit")


async def keep_up(store: AuditStore, policy: Policy) -> None:
    """Do what a policy asks for until cancelled. What fails is told and tried again the next time."""
    async with asyncio.TaskGroup() as tasks:
        if policy.compact is not None:
            tasks.create_task(_compacting(store, policy.compact))
        if policy.keep:
            tasks.create_task(_pruning(store, policy))


async def _compacting(store: AuditStore, how: Compaction) -> None:
    while True:
        await asyncio.sleep(how.every)
        try:
            spent_s = await asyncio.to_thread(merge_one, store, how)
            while spent_s is not None:
                await asyncio.sleep(spent_s * (1 / how.share - 1))
                spent_s = await asyncio.to_thread(merge_one, store, how)
        except (AuditError, OSError) as error:
            _log.error("compaction: %s", error)


def merge_one(store: AuditStore, how: Compaction) -> float | None:
    """Merge one group of files and give the seconds that it took; None when there is none."""
    began = time.monotonic()
    with alone():
        groups = compact.plan(store, how.target_mib, how.least)
        for commit in compact.compact(store, groups[:1]):
            _log.info("merged %d files into %d", len(commit.gone), len(commit.files))
    return time.monotonic() - began if groups else None


async def _pruning(store: AuditStore, policy: Policy) -> None:
    while True:
        try:
            await asyncio.to_thread(prune, store, policy)
        except (AuditError, OSError) as error:
            _log.error("retention: %s", error)
        await asyncio.sleep(_PRUNE_EVERY_S)


def prune(store: AuditStore, policy: Policy) -> None:
    """Take away what the rules of a policy no longer keep."""
    for keep in policy.keep:
        with alone():
            if files := retention.plan(store, keep.rule):
                retention.prune(store, files, keep.reason)
                _log.info("pruned %d files (%s)", len(files), keep.reason)
