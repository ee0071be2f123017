"""A link between two network namespaces that can be slow, lossy, thin, or dead.

Run as a process, it holds a TUN device in each namespace and carries IP packets from one to the other, so
what TCP makes of a bad line is the kernel's own doing. It reads its orders from standard input, a JSON object
a line: `{"delay_s": 0.5, "loss": 0.05, "bytes_per_s": 8000, "up": true}`, and answers each with a line.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SIDES: Final = ("rack", "mixer")
ADDRESS: Final = {"rack": "10.98.0.2", "mixer": "10.98.0.1"}
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_CLONE_NEWNET: Final = 0x40000000
_QUEUE_BYTES: Final = 256 << 10
"""What a thin line holds before it drops, as routers do."""


def reason_to_skip() -> str:
    """Say why there can be no such link here; "" when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    if shutil.which("ip") is None:
        return "there is no ip command (Debian: iproute2)"
    space = f"fx-probe-{os.getpid()}"
    try:
        _ip("netns", "add", space)
        _ip("netns", "del", space)
    except subprocess.CalledProcessError as error:
        return f"namespaces can't be made: {error.stderr.decode().strip()}"
    return ""


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)  # noqa: S607 - wherever it is installed


class Link:
    """The two namespaces and the line between them."""

    def __init__(self, process: subprocess.Popen[str], spaces: dict[str, str]) -> None:
        self._process = process
        self._spaces = spaces

    def within(self, side: str) -> tuple[str, ...]:
        """Give what to put before a command so that it runs on that side."""
        return ("ip", "netns", "exec", self._spaces[side])

    def change(self, **wanted: Any) -> None:
        """Have the line be as told from now on; what is not told goes back to good."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


@contextmanager
def linked(name: str) -> Iterator[Link]:
    """Make two namespaces and a line between them for the length of a `with`."""
    spaces = {side: f"fx-{name}-{side}" for side in SIDES}
    for space in spaces.values():
        _ip("netns", "add", space)
    command = [sys.executable, __file__, *spaces.values()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for side, space in spaces.items():
            peer = ADDRESS[SIDES[1 - SIDES.index(side)]]
            for args in (
                ("link", "set", "lo", "up"),
                ("addr", "add", ADDRESS[side], "peer", peer, "dev", "line"),
                ("link", "set", "line", "up"),
            ):
                _ip("-n", space, *args)
        yield Link(process, spaces)
    finally:
        process.kill()
        process.communicate()
        for space in spaces.values():
            _ip("netns", "del", space)


@dataclass(slots=True)
class _Line:
    """How the line is now."""

    up: bool = True
    delay_s: float = 0.0
    loss: float = 0.0
    bytes_per_s: float = 0.0


def _carry(ends: list[int], dice: random.Random) -> None:
    """Carry packets between the two devices until standard input ends."""
    line = _Line()
    under_way: list[tuple[float, int, int, bytes]] = []
    free_at = dict.fromkeys(ends, 0.0)
    serial = 0
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, end, packet = heapq.heappop(under_way)
            with suppress(OSError):  # a side that is not up yet takes nothing
                os.write(end, packet)
        wait_s = max(0.0, under_way[0][0] - now) if under_way else None
        readable, _, _ = select.select([*ends, sys.stdin], [], [], wait_s)
        for source in readable:
            if source is sys.stdin:
                order = sys.stdin.readline()
                if not order:
                    return
                line = _Line(**json.loads(order))
                under_way = [(0.0, number, end, packet) for _, number, end, packet in sorted(under_way)]
                free_at = dict.fromkeys(ends, 0.0)
                print("done", flush=True)
                continue
            packet = os.read(source, 65536)
            target = ends[1 - ends.index(source)]
            now = time.monotonic()
            if not line.up or dice.random() < line.loss:
                continue
            leaves_at = now
            if line.bytes_per_s:
                leaves_at = max(now, free_at[target])
                if (leaves_at - now) * line.bytes_per_s > _QUEUE_BYTES:
                    continue
                leaves_at = free_at[target] = leaves_at + len(packet) / line.bytes_per_s
            serial += 1
            heapq.heappush(under_way, (leaves_at + line.delay_s, serial, target, packet))


def _device(space: str) -> int:
    """Open a TUN device in a namespace; it stays there when this process has moved on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{space}").open("rb") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22s", b"line", _IFF_TUN_NO_PI, b""))
    return end


if __name__ == "__main__":
    devices = [_device(space) for space in sys.argv[1:]]
    print("ready", flush=True)
    _carry(devices, random.Random(0))
