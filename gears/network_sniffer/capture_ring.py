"""The ring that kernel and capture share: TPACKET_V3 (packet(7), the kernel's `packet_mmap.rst`).

The kernel fills one block after another, and hands a block over when it is full or RETIRE_MS old; a block is
read whole, and handed back. A packet costs no system call.
"""

from __future__ import annotations

import errno
import mmap
import socket
import struct
from typing import Final

from gears.network_sniffer.packet import Packet

SOL_PACKET: Final = 263
PACKET_RX_RING: Final = 5
PACKET_STATISTICS: Final = 6
PACKET_VERSION: Final = 10
TPACKET_V3: Final = 2

BLOCK_BYTES: Final = 1 << 17
"""More than a frame takes that was put together from 64 KiB of segments."""
MIN_BLOCKS: Final = 8
RETIRE_MS: Final = 30
"""How long a block that is not full may keep its packets to itself. When nobody reads, sparse traffic takes a
block each time: longer is slower, shorter is a ring that is full earlier."""
_FRAME_BYTES: Final = 1 << 11
"""Of no meaning for TPACKET_V3, but it must divide the block."""

_KERNEL, _USER = 0, 1
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_DOT1Q: Final = 0x8100
_MACS_BYTES: Final = 12
_TAG_BYTES: Final = 4

_block_header: Final = struct.Struct("=8xIII")
"""Status, number of packets, offset of the first (`tpacket_block_desc`)."""
_STATUS_AT: Final = 8
_packet_header: Final = struct.Struct("=IIIIIIH2x4xIH")
"""Offset of the next, s, ns, captured, length, status, offset of the frame, TCI, TPID (`tpacket3_hdr`)."""


class Ring:
    """The receive ring of a socket that is not bound yet."""

    def __init__(self, sock: socket.socket, link: int, size: int) -> None:
        """Make it of `size` bytes, or as large as the memory allows. Raises OSError."""
        self._link = link
        self._drops = 0
        self._socket = sock
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        self._blocks = _request(sock, size // BLOCK_BYTES)
        self._memory = mmap.mmap(sock.fileno(), self._blocks * BLOCK_BYTES)
        self._block = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self._blocks * BLOCK_BYTES

    def read(self) -> list[Packet]:
        """Give the packets of the oldest block that the kernel has handed over, none if there is none.

        Ask poll(2) before each call: it also orders what other processors wrote.
        """
        start, memory = self._block * BLOCK_BYTES, self._memory
        status, count, first = _block_header.unpack_from(memory, start)
        if not status & _USER:
            return []
        packets, at, link, make = [], start + first, self._link, tuple.__new__
        header = _packet_header.unpack_from
        for _ in range(count):
            step, seconds, ns, captured, length, flags, mac, tci, tpid = header(memory, at)
            data = memory[at + mac : at + mac + captured]
            if flags & _VLAN_VALID:
                data = _with_tag(data, tci, tpid if flags & _VLAN_TPID_VALID else _DOT1Q)
                length += _TAG_BYTES
            packets.append(make(Packet, (seconds * 1_000_000_000 + ns, link, data, length)))
            at += step
        struct.pack_into("=I", memory, start + _STATUS_AT, _KERNEL)
        self._block = (self._block + 1) % self._blocks
        return packets

    def count_drops(self) -> int:
        """Ask the kernel, and give all frames since the start that found no room."""
        _, drops, _ = struct.unpack("III", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
        self._drops += drops
        return self._drops

    def close(self) -> None:
        self._memory.close()


def _request(sock: socket.socket, blocks: int) -> int:
    """Have the kernel make so many blocks, or half of them, and so on; give their number."""
    while True:
        frames = blocks * (BLOCK_BYTES // _FRAME_BYTES)
        request = struct.pack("7I", BLOCK_BYTES, blocks, _FRAME_BYTES, frames, RETIRE_MS, 0, 0)
        try:
            sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        except OSError as error:
            if error.errno != errno.ENOMEM or blocks // 2 < MIN_BLOCKS:
                raise
            blocks //= 2
        else:
            return blocks


def _with_tag(frame: bytes, tci: int, tpid: int) -> bytes:
    """Give the frame as it was on the wire: the kernel keeps the outer VLAN tag beside it."""
    return frame[:_MACS_BYTES] + struct.pack(">HH", tpid, tci & 0xFFFF) + frame[_MACS_BYTES:]
