"""The pcapng file format (draft-ietf-opsawg-pcapng): sections, interfaces, and their packets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from gears.network_sniffer.packet import CaptureDamaged, Packet

MAGIC: Final = b"\x0a\x0d\x0d\x0a"
MAX_BLOCK: Final = 1 << 24
MAX_NS: Final = (1 << 63) - 1

_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_TSRESOL, _TSOFFSET = 9, 14


@dataclass(frozen=True, slots=True)
class Interface:
    """What an Interface Description Block says: how to read its packets' time stamps."""

    link: int
    snap: int
    ticks_per_s: int = 1_000_000
    offset_s: int = 0

    def ts(self, ticks: int) -> int:
        """Give a time in ns; one that 64 bits do not hold becomes the nearest that they do."""
        ns = ticks * 1_000_000_000 // self.ticks_per_s + self.offset_s * 1_000_000_000
        return min(max(ns, 0), MAX_NS)


@dataclass(slots=True)
class Section:
    """The state of one section."""

    order: str = "<"
    interfaces: list[Interface] = field(default_factory=list)
    last_ts: int = 0


def read_pcapng(file: BinaryIO) -> Iterator[Packet]:
    """Give the packets of all sections and interfaces. Raises CaptureDamaged at a break, after them."""
    section, number = Section(), 0
    while head := file.read(8):
        number += 1
        kind, body = _block(file, head, section, number)
        try:
            packet = _packet(kind, body, section)
        except (struct.error, IndexError):
            raise CaptureDamaged(f"block {number} of type {kind} is malformed") from None
        if packet is not None:
            section.last_ts = packet.ts
            yield packet


def _block(file: BinaryIO, head: bytes, section: Section, number: int) -> tuple[int, bytes]:
    """Read one block: its type and its body without the lengths around it."""
    if len(head) < 8:
        raise CaptureDamaged(f"the file is cut in the header of block {number}")
    body = b""
    if head[:4] == MAGIC:
        body = file.read(4)
        if body not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
            raise CaptureDamaged(f"section {number} has no byte order")
        section.order = ">" if body[0] == 0x1A else "<"
        section.interfaces, section.last_ts = [], 0
    kind, length = struct.unpack(f"{section.order}II", head)
    if length < 12 + len(body) or length % 4 or length > MAX_BLOCK:
        raise CaptureDamaged(f"block {number} claims {length} bytes")
    rest = file.read(length - 8 - len(body))
    if len(rest) < length - 8 - len(body):
        raise CaptureDamaged(f"the file is cut in block {number}")
    return kind, body + rest[:-4]


def _packet(kind: int, body: bytes, section: Section) -> Packet | None:
    order = section.order
    if kind == _ENHANCED:
        index, high, low, captured, length = struct.unpack_from(f"{order}IIIII", body)
        interface = section.interfaces[index]
        return Packet(interface.ts(high << 32 | low), interface.link, _taken(body, 20, captured), length)
    if kind == _PACKET:
        index, high, low, captured, length = struct.unpack_from(f"{order}HxxIIII", body)
        interface = section.interfaces[index]
        return Packet(interface.ts(high << 32 | low), interface.link, _taken(body, 20, captured), length)
    if kind == _SIMPLE:
        interface = section.interfaces[0]
        length = struct.unpack_from(f"{order}I", body)[0]
        captured = min(length, interface.snap or length)
        return Packet(section.last_ts, interface.link, _taken(body, 4, captured), length)
    if kind == _INTERFACE:
        section.interfaces.append(_interface(body, order))
    return None


def _taken(body: bytes, start: int, length: int) -> bytes:
    if start + length > len(body):
        raise IndexError("the packet is longer than its block")
    return body[start : start + length]


def _interface(body: bytes, order: str) -> Interface:
    link, snap = struct.unpack_from(f"{order}HxxI", body)
    ticks_per_s, offset_s, at = 1_000_000, 0, 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(f"{order}HH", body, at)
        if code == 0:
            break
        if code == _TSRESOL and length >= 1:
            resolution = body[at + 4]
            ticks_per_s = 1 << (resolution & 0x7F) if resolution & 0x80 else 10 ** min(resolution, 19)
        elif code == _TSOFFSET and length >= 8:
            offset_s = struct.unpack_from(f"{order}q", body, at + 4)[0]
        at += 4 + length + -length % 4
    return Interface(link, snap, ticks_per_s, offset_s)
