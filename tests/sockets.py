"""Which sockets a process and its children listen on, from /proc (proc_pid_fd(5), proc_net(5))."""

from __future__ import annotations

import ipaddress
import socket
import struct
from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_UNCONNECTED = "07"  # of UDP: bound, and takes what comes


def listeners(pid: int) -> set[tuple[str, int]]:
    """Give address and port of all TCP and UDP sockets of a process tree that take what comes in."""
    mine = {inode for one in family(pid) for inode in _inodes(one)}
    bound = _bound("tcp", _LISTENING) | _bound("tcp6", _LISTENING)
    bound |= _bound("udp", _UNCONNECTED) | _bound("udp6", _UNCONNECTED)
    return {(address, port) for inode, address, port in bound if inode in mine}


def outside(found: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Give those that others than this machine can reach."""
    return {(address, port) for address, port in found if not ipaddress.ip_address(address).is_loopback}


def family(pid: int) -> set[int]:
    """Give a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, new = {pid}, [pid]
    while new:
        new = [child for one in new for child in children.get(one, [])]
        found |= set(new)
    return found


def _inodes(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(descriptor.readlink()))
    return {name[8:-1] for name in found if name.startswith("socket:[")}


def _bound(protocol: str, state: str) -> set[tuple[str, str, int]]:
    lines = Path(f"/proc/net/{protocol}").read_text("ascii").splitlines()[1:]
    fields = [line.split() for line in lines]
    return {(one[9], *_place(one[1])) for one in fields if one[3] == state}


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
    packed = struct.pack(f"={len(words)}I", *words)  # each word is in the machine's own order
    family_ = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family_, packed), int(port, 16)
