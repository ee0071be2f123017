"""Live capture from Linux interfaces through AF_PACKET sockets (packet(7)). It never sends."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from fluxrig.errors import Disconnected, Fatal, NotReady
from gears.network_sniffer.bpf import assemble, compile_filter
from gears.network_sniffer.capture_filter import Expression
from gears.network_sniffer.capture_ring import RETIRE_MS, SOL_PACKET, Ring
from gears.network_sniffer.packet import LinkType, Packet

ETH_P_ALL: Final = 3
PACKET_ADD_MEMBERSHIP: Final = 1
PACKET_MR_PROMISC: Final = 1
SO_ATTACH_FILTER: Final = 26
SO_TIMESTAMPNS: Final = 35
ARPHRD_ETHER: Final = 1
ARPHRD_LOOPBACK: Final = 772

RING_BYTES: Final = 64 << 20
"""15 s of traffic while nobody reads, up to 20,000 packets a second."""
MAX_RINGS_BYTES: Final = 256 << 20
"""For all interfaces of a gear together."""
LATE_NS: Final = (2 * RETIRE_MS + 10) * 1_000_000
"""How long the kernel may keep a packet before it hands it over: its timer looks every RETIRE_MS."""
MAX_HELD: Final = 1 << 16

NO_RIGHT: Final = (
    "capturing needs the right CAP_NET_RAW and nothing else; in a systemd unit set "
    'AmbientCapabilities=CAP_NET_RAW, or run: sudo setcap cap_net_raw+ep "$(readlink -f .venv/bin/python)"'
)


class LiveCapture:
    """An open capture on one interface."""

    def __init__(self, interface: str, expression: Expression, *, promiscuous: bool, ring_bytes: int) -> None:
        """Open it. Raises Fatal without the right to, NotReady when the interface is missing or down."""
        self.interface = interface
        self._fault: tuple[str, int] | None = None
        """What ended the capture, and when; what the kernel still has is read first."""
        self._socket = _open_socket()
        try:
            self._ring = self._prepare(expression, promiscuous, ring_bytes)
        except OSError as error:
            self._socket.close()
            raise NotReady(
                f"can't capture on {interface}: {error.strerror or error}; there are {_interfaces()}"
            ) from error
        except BaseException:
            self._socket.close()
            raise

    @property
    def ring_bytes(self) -> int:
        return self._ring.size

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[Packet]:
        """Give the packets that the kernel handed over together; none: there are none, or not yet.

        Raises Disconnected when the interface has gone down.
        """
        packets = self._ring.read()
        if not packets and self._fault is None and (number := self._error()):
            self._fault = os.strerror(number), time.monotonic_ns()
        if not packets and self._fault is not None:
            reason, since_ns = self._fault
            if time.monotonic_ns() - since_ns > LATE_NS:
                raise Disconnected(f"can't capture on {self.interface}: {reason}")
        return packets

    def count_drops(self) -> int:
        """Ask the kernel, and give all frames since the start that it dropped because we were too slow."""
        return self._ring.count_drops()

    def close(self) -> None:
        self._ring.close()
        self._socket.close()

    def _prepare(self, expression: Expression, promiscuous: bool, ring_bytes: int) -> Ring:
        """Set all up before binding: until then, the socket receives nothing that the filter did not see."""
        index = socket.if_nametoindex(self.interface)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        _attach(self._socket, expression, loopback=self._hardware() == ARPHRD_LOOPBACK)
        if promiscuous:
            request = struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b"")
            self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
        ring = Ring(self._socket, LinkType.ETHERNET, ring_bytes)
        try:
            self._socket.bind((self.interface, ETH_P_ALL))
            self._must_be_up()
        except BaseException:
            ring.close()
            raise
        return ring

    def _hardware(self) -> int:
        """Give the kind of the interface (ARPHRD_*). Raises Fatal when it is none that can be read."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe:
            probe.bind((self.interface, 0))
            hardware = int(probe.getsockname()[3])
        if hardware not in (ARPHRD_ETHER, ARPHRD_LOOPBACK):
            reason = f"{self.interface} is no Ethernet interface (hardware type {hardware})"
            raise Fatal(f"{reason}; choose one of {_interfaces()}")
        return hardware

    def _must_be_up(self) -> None:
        if fault := self._error():
            raise NotReady(f"can't capture on {self.interface}: {os.strerror(fault)}")

    def _error(self) -> int:
        """Give, and forget, what is wrong with the socket; 0: nothing."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


class LiveCaptures:
    """Open captures on several interfaces, read as one in the order of time."""

    def __init__(self, interfaces: Sequence[str], expression: Expression, *, promiscuous: bool) -> None:
        """Open all, or none. Raises as LiveCapture does."""
        self.captures: list[LiveCapture] = []
        self._held: list[Packet] = []
        self.ring_bytes = min(RING_BYTES, MAX_RINGS_BYTES // len(interfaces))
        """What was asked for each interface; the kernel may have given less."""
        try:
            for interface in interfaces:
                capture = LiveCapture(
                    interface, expression, promiscuous=promiscuous, ring_bytes=self.ring_bytes
                )
                self.captures.append(capture)
        except BaseException:
            self.close()
            raise

    def read(self, now_ns: int) -> list[Packet]:
        """Give the packets that come next. Raises Disconnected when an interface has gone down.

        A packet waits until no other interface can have an earlier one: one may show the requests, another
        the answers.
        """
        if len(self.captures) == 1:
            return self.captures[0].read()
        complete_ns = now_ns
        for capture in self.captures:
            packets = capture.read()
            self._held += packets
            complete_ns = min(complete_ns, packets[-1].ts if packets else now_ns - LATE_NS)
        self._held.sort(key=_ts)
        due = bisect_right(self._held, complete_ns, key=_ts) if len(self._held) < MAX_HELD else MAX_HELD
        packets, self._held = self._held[:due], self._held[due:]
        return packets

    def rest(self) -> list[Packet]:
        """Give what is held, at the end."""
        held, self._held = self._held, []
        return held

    def count_drops(self) -> int:
        """Give all frames that the kernel dropped since the start because we were too slow."""
        return sum(capture.count_drops() for capture in self.captures)

    def close(self) -> None:
        """Close all; twice is fine."""
        for capture in self.captures:
            capture.close()
        self.captures = []


_ts: Final = attrgetter("ts")


def _open_socket() -> socket.socket:
    if not hasattr(socket, "AF_PACKET"):
        raise Fatal("live capture needs Linux; give a capture `file` instead of an `interface`")
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise Fatal(NO_RIGHT) from error


def _attach(sock: socket.socket, expression: Expression, *, loopback: bool) -> None:
    program = compile_filter(expression, drop_outgoing=loopback)
    code = ctypes.create_string_buffer(assemble(program))
    sock.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code))
    )


def _interfaces() -> str:
    return ", ".join(name for _, name in socket.if_nameindex())
