"""IP packets out of their fragments (RFC 791, 3.2; RFC 8200, 4.5)."""

from __future__ import annotations

from typing import Final

from gears.network_sniffer.network import Fragment

MAX_PACKET: Final = 65_535
MAX_PACKETS: Final = 1024
"""Packets that wait for fragments; then the oldest is given up."""
TIMEOUT_NS: Final = 30_000_000_000
"""How long a packet may wait for its fragments, in the time of the capture."""
MAX_PIECES: Final = 1024


class _Waiting:
    """A packet in pieces."""

    __slots__ = ("length", "pieces", "protocol", "ts")

    def __init__(self, ts: int) -> None:
        self.ts = ts
        self.pieces: dict[int, bytes] = {}
        self.length: int | None = None
        self.protocol = 0

    def add(self, piece: Fragment) -> None:
        """Take a piece; of two at the same place the first counts."""
        if piece.offset + len(piece.payload) <= MAX_PACKET and len(self.pieces) < MAX_PIECES:
            self.pieces.setdefault(piece.offset, piece.payload)
            if not piece.more:
                self.length = piece.offset + len(piece.payload)
            if not piece.offset:
                self.protocol = piece.protocol

    def packet(self) -> bytes | None:
        """Give the packet if all of it is there."""
        if self.length is None:
            return None
        packet = bytearray()
        for offset in sorted(self.pieces):
            if offset > len(packet):
                return None
            packet += self.pieces[offset][len(packet) - offset :]
        return bytes(packet[: self.length]) if len(packet) >= self.length else None


class Fragments:
    """Keeps fragments until their packet is whole."""

    def __init__(self) -> None:
        self.seen = 0
        self.joined = 0
        """Packets put together."""
        self.lost = 0
        """Packets given up."""
        self._waiting: dict[bytes, _Waiting] = {}

    def add(self, piece: Fragment, ts: int) -> tuple[int, bytes, bytes] | None:
        """Take a fragment; give protocol, addresses and content of the packet that it makes whole."""
        self.seen += 1
        waiting = self._waiting.get(piece.key)
        if waiting is not None and ts - waiting.ts > TIMEOUT_NS:
            self._give_up(piece.key)
            waiting = None
        if waiting is None:
            if len(self._waiting) >= MAX_PACKETS:
                self._give_up(next(iter(self._waiting)))
            waiting = self._waiting[piece.key] = _Waiting(ts)
        waiting.add(piece)
        packet = waiting.packet()
        if packet is None:
            return None
        del self._waiting[piece.key]
        self.joined += 1
        return waiting.protocol, piece.addresses, packet

    def sweep(self, now_ns: int) -> None:
        """Give up what waits too long."""
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            if now_ns - oldest.ts <= TIMEOUT_NS:
                return
            self._give_up(key)

    def finish(self) -> None:
        for key in list(self._waiting):
            self._give_up(key)

    def _give_up(self, key: bytes) -> None:
        del self._waiting[key]
        self.lost += 1
