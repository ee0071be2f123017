"""Live capture from a Linux interface through an AF_PACKET socket (packet(7)). It never sends."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

from fluxrig.errors import Disconnected, Fatal, NotReady
from gears.network_sniffer.bpf import assemble, compile_filter
from gears.network_sniffer.capture_filter import Expression
from gears.network_sniffer.packet import LinkType, Packet

ETH_P_ALL: Final = 3
SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP: Final = 1
PACKET_STATISTICS: Final = 6
PACKET_MR_PROMISC: Final = 1
SO_ATTACH_FILTER: Final = 26
SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPNS: Final = 35
ARPHRD_ETHER: Final = 1
ARPHRD_LOOPBACK: Final = 772

BUFFER_BYTES: Final = 64 << 20
MAX_FRAME: Final = 1 << 17
_ANCILLARY_BYTES: Final = 64

NO_RIGHT: Final = (
    "capturing needs the right CAP_NET_RAW and nothing else; in a systemd unit set "
    'AmbientCapabilities=CAP_NET_RAW, or run: sudo setcap cap_net_raw+ep "$(readlink -f .venv/bin/python)"'
)

_timespec: Final = struct.Struct("qq").unpack_from


class LiveCapture:
    """An open capture on one interface."""

    def __init__(self, interface: str, expression: Expression, *, promiscuous: bool) -> None:
        """Open it. Raises Fatal without the right to, NotReady when there is no such interface."""
        self.kernel_drops = 0
        """Frames that the kernel dropped because we were too slow, since the start."""
        self._socket = _open_socket()
        try:
            self._prepare(interface, expression, promiscuous)
        except OSError as error:
            self._socket.close()
            raise NotReady(
                f"can't capture on {interface}: {error.strerror}; there are {_interfaces()}"
            ) from error
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, limit: int) -> list[Packet]:
        """Give the packets that are there, at most `limit`. Raises Disconnected when the interface fails."""
        packets: list[Packet] = []
        receive = self._socket.recvmsg
        try:
            for _ in range(limit):
                data, ancillary, _, _ = receive(MAX_FRAME, _ANCILLARY_BYTES)
                seconds, nanoseconds = _timespec(ancillary[0][2])
                packets.append(Packet(seconds * 1_000_000_000 + nanoseconds, self._link, data, len(data)))
        except BlockingIOError:
            pass
        except OSError as error:
            if not packets:
                raise Disconnected(f"the capture broke off: {error.strerror}") from error
        return packets

    def count_drops(self) -> int:
        """Ask the kernel, and give all drops since the start."""
        _, drops = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.kernel_drops += drops
        return self.kernel_drops

    def close(self) -> None:
        self._socket.close()

    def _prepare(self, interface: str, expression: Expression, promiscuous: bool) -> None:
        """Set all up before binding: until then, the socket receives nothing that the filter did not see."""
        index = socket.if_nametoindex(interface)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        _enlarge(self._socket)
        _attach(self._socket, expression, loopback=_is_loopback(interface))
        if promiscuous:
            request = struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b"")
            self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
        self._socket.bind((interface, ETH_P_ALL))
        hardware = self._socket.getsockname()[3]
        if hardware not in (ARPHRD_ETHER, ARPHRD_LOOPBACK):
            reason = f"{interface} is no Ethernet interface (hardware type {hardware})"
            raise Fatal(f"{reason}; choose one of {_interfaces()}")
        self._link = LinkType.ETHERNET


def _open_socket() -> socket.socket:
    if not hasattr(socket, "AF_PACKET"):
        raise Fatal("live capture needs Linux; give a capture `file` instead of an `interface`")
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise Fatal(NO_RIGHT) from error


def _enlarge(sock: socket.socket) -> None:
    """Ask for a large receive buffer; beyond the system's limit only where the process may."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)


def _attach(sock: socket.socket, expression: Expression, *, loopback: bool) -> None:
    program = compile_filter(expression, drop_outgoing=loopback)
    code = ctypes.create_string_buffer(assemble(program))
    sock.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code))
    )


def _is_loopback(interface: str) -> bool:
    probe = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with probe:
        probe.bind((interface, 0))
        return bool(probe.getsockname()[3] == ARPHRD_LOOPBACK)


def _interfaces() -> str:
    return ", ".join(name for _, name in socket.if_nameindex())
