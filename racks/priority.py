"""How soon a Rack runs when something is due, on a machine that has other work, too (sched(7)).

A poll takes a fraction of a millisecond, but waits some of them for a CPU whenever another process, such as a
worker of the same Rack, has just begun its turn there.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import resource
import signal
import struct
import sys
import threading
from typing import Final

REALTIME_PRIORITY: Final = 1
SLICE_NS: Final = 200_000
"""How long a turn we ask for where real time is not ours: who asks for less goes before who asks for more."""
MOST_US: Final = 500_000
"""How long we may compute without a pause before we give up real time."""

_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""The number of sched_setattr(2), which the C library has not had for long."""

log = logging.getLogger("fluxrig.rack")


def go_first() -> None:
    """Have this thread, and no child or thread of it, run as soon as it has something to do.

    With CAP_SYS_NICE or a real-time limit (`LimitRTPRIO=1` in a systemd unit) by round robin at the lowest
    real-time priority; else by asking for short turns, which Linux 6.12 and later honour.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return
    if not _go_real_time():
        _ask_for_short_turns()


def _go_real_time() -> bool:
    signal.signal(signal.SIGXCPU, _step_back)
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    soft = MOST_US if hard == resource.RLIM_INFINITY else min(MOST_US, hard)
    resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(REALTIME_PRIORITY))
    except PermissionError:
        return False
    return True


def _step_back(*_: object) -> None:
    """Leave the CPU to others again: something in this process never pauses."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    _ask_for_short_turns()
    log.warning(
        "a gear kept the Rack busy for %d ms, which gives up its real-time priority until it starts again; "
        "say `isolate: process` for the gear",
        MOST_US // 1000,
    )


def _ask_for_short_turns() -> None:
    """Set `sched_runtime` of this thread; a kernel that does not know it takes no notice."""
    number = _SETATTR.get(platform.machine())
    if number is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)
