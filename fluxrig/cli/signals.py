"""How long-running commands are told to stop: once to drain, twice to stop at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedAtOnce(KeyboardInterrupt):
    """A second signal came before the first was done with."""


async def until_told(main: Callable[[asyncio.Event], Awaitable[T]], for_s: float | None = None) -> T:
    """Run `main`, setting the event it is given at the first SIGINT or SIGTERM, or after `for_s` seconds.

    A second signal cancels it and raises StoppedAtOnce.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main(stop))

    def told() -> None:
        if stop.is_set():
            task.cancel()
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
