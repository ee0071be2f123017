"""Ending tasks for certain, and what ends a group of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fluxrig.errors import FluxrigError


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


@asynccontextmanager
async def only_error() -> AsyncIterator[None]:
    """Around a TaskGroup: raise the error that was raised on purpose, not the group that it came in."""
    try:
        yield
    except BaseExceptionGroup as group:
        meant, other = group.split(FluxrigError)
        if meant is None or other is not None:
            raise
        error: BaseException = meant
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
