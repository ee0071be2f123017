"""Start a process that can't outlive us, not even when we are killed with -9."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # prctl(2)


async def spawn(
    command: Sequence[str | Path],
    *,
    stderr: IO[bytes],
    keep_fds: Sequence[int],
    environ: Mapping[str, str] | None = None,
) -> Process:
    """Start `command` in a session of its own, so that a terminal's Ctrl-C does not reach it before us.

    `environ` adds to our own environment, which goes first.

    On Linux the kernel kills it when the thread that called this ends: call it from the thread that runs the
    event loop for as long as the child is wanted. Elsewhere it may outlive a parent that was killed with -9.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=stderr,
        start_new_session=True,
        pass_fds=tuple(keep_fds),
        preexec_fn=die_with_us(),
        env={**(environ or {}), **os.environ},
    )


def die_with_us() -> Callable[[], None] | None:
    """Give the `preexec_fn` by which a child ends when we do, however we end; None where there is no way."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent_pid = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before the kernel knew whom to watch
            os._exit(1)

    return before_exec
