"""Tasks that are ended are over."""

from __future__ import annotations

import asyncio

from fluxrig.tasks import end


async def test_ends_also_a_task_that_swallows_a_cancellation() -> None:
    """A task that lost its first two cancellations is over all the same."""
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.sleep(0)
    await end(tasks, again_after_s=0.01)
    assert all(task.done() for task in tasks)
    assert swallowed == 3


async def test_nothing_to_end_is_fine() -> None:
    """No tasks, and tasks that are over, end at once."""
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end([])
    await end([done])
