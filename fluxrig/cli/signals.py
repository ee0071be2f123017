"""How long-running commands are told to stop: once to drain, twice to stop at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from fluxrig.tasks import end

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


GRACE_S = 5.0
"""How long a second signal waits for work that does not end when it is cancelled."""

log = logging.getLogger("fluxrig")


class StoppedAtOnce(KeyboardInterrupt):
    """A second signal came before the first was done with."""


def run_until_told(main: Callable[[asyncio.Event], Awaitable[T]], for_s: float | None = None) -> T:
    """Run `main` as a program: see `until_told`. Tasks that can't be ended are left behind, and told."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(until_told(main, for_s))
    finally:
        stuck = loop.run_until_complete(end(asyncio.all_tasks(loop), attempts=2))
        if stuck:  # closing the loop would wait for them, and they would complain at the end
            names = ", ".join(sorted(task.get_name() for task in stuck))
            log.error("left behind, because it does not end when it is cancelled: %s", names)
            loop.set_exception_handler(lambda *_: None)
        else:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


async def until_told(main: Callable[[asyncio.Event], Awaitable[T]], for_s: float | None = None) -> T:
    """Run `main`, setting the event it is given at the first SIGINT or SIGTERM, or after `for_s` seconds.

    A second signal cancels it and raises StoppedAtOnce; if that takes longer than GRACE_S the process ends.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main(stop))

    def told() -> None:
        if stop.is_set():
            task.cancel()
            loop.call_later(GRACE_S, os._exit, 130)
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, told)
    timer = loop.call_later(for_s, stop.set) if for_s is not None else None
    try:
        return await task
    except asyncio.CancelledError:
        if stop.is_set():
            raise StoppedAtOnce from None
        raise
    finally:
        if timer is not None:
            timer.cancel()
        for number in SIGNALS:
            with suppress(ValueError):
                loop.remove_signal_handler(number)
