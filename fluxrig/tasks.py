"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


async def end(
    tasks: Iterable[asyncio.Task[Any]], again_after_s: float = 1.0, attempts: int = 5
) -> set[asyncio.Task[Any]]:
    """Cancel tasks until they are done, and give those that `attempts` cancellations did not end.

    One cancellation may get lost: `asyncio.wait_for`, also inside libraries, swallows it when what it waited
    for is done at the same moment (Python 3.11). So a task that goes on is cancelled again.
    """
    tasks = list(tasks)
    pending = {task for task in tasks if not task.done()}
    for _ in range(attempts):
        if not pending:
            break
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_after_s)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # seen: asyncio need not complain that nobody looked
    return pending
