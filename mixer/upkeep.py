"""Where upkeep is done: by the Mixer that runs on a folder, or here when none does."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from pydantic import ValidationError

from fluxrig.errors import AuditError, FluxrigError
from mixer.audit.lease import TIME_S
from mixer.audit.store import AuditStore
from mixer.audit.upkeep import Task, perform
from mixer.folder import Folder, FolderTaken
from mixer.home import Keeping, opened

UPKEEP: Final = "fluxrig.mixer.upkeep"
_PATIENCE_S: Final = 3600.0
_LEASE_S: Final = 1.5 * TIME_S


async def ask(folder: Folder, task: Task) -> dict[str, Any]:
    """Have a task done, and give what was done. Raises FluxrigError that says why not."""
    if not folder.audit.is_dir():
        raise AuditError(f"there is no audit store at {folder.audit}; give the Mixer's --data folder")
    try:
        return await _do(folder, task)
    except FolderTaken:
        if folder.running() is None:  # it is starting or stopping
            raise
    async with await folder.reach("mixer upkeep") as bus:
        payload = task.model_dump_json().encode()
        done: dict[str, Any] = json.loads(await bus.request(UPKEEP, payload, _PATIENCE_S))
    if error := done.pop("error", None):
        raise AuditError(error)
    return done


async def _do(folder: Folder, task: Task) -> dict[str, Any]:
    """Do a task here, unless a Mixer elsewhere writes to the bucket."""
    too_long = asyncio.Event()
    asyncio.get_running_loop().call_later(_LEASE_S, too_long.set)
    async with opened(folder, Keeping(), too_long) as home:
        if home is None:
            raise AuditError(f"a Mixer elsewhere writes to {folder.store}, or it is away; run this beside it")
        return await asyncio.to_thread(perform, home.store, task)


async def answer(store: AuditStore, payload: bytes) -> bytes:
    """Do what a request asks for; the reply is what was done, or `{error}`."""
    try:
        task = Task.model_validate_json(payload)
        done = await asyncio.to_thread(perform, store, task)
    except (FluxrigError, OSError, ValidationError) as error:
        done = {"error": " ".join(str(error).split())}
    return json.dumps(done).encode()
