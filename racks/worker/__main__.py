"""`python -m racks.worker SOCKET RACK_PID TITLE`: started by a Rack alone."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import signal
import socket
import sys
from typing import Final

from racks.worker.host import serve

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def main() -> None:
    """Serve the Rack at the other end of the socket, and end with it."""
    descriptor, rack_pid = int(sys.argv[1]), int(sys.argv[2])
    _die_with(rack_pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_it_to_the_rack)
    faulthandler.enable()
    theirs = socket.socket(fileno=descriptor)
    theirs.set_inheritable(False)
    asyncio.run(serve(theirs))


def _die_with(rack_pid: int) -> None:
    """Have the kernel kill us when the Rack dies, also while a gear keeps us from seeing it hang up.

    Asked for here and not before exec, which forgets it when Python has capabilities such as CAP_NET_RAW.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != rack_pid:
        sys.exit(1)


def _leave_it_to_the_rack(*_: object) -> None:
    """Take no notice: a service manager tells the whole group to stop, but the Rack drains first."""


if __name__ == "__main__":
    main()
