"""Modbus RTU carried over TCP or UDP: frames without a header, told by their function and checksum.

MODBUS over Serial Line V1.02, 2.5.1: unit, PDU, CRC-16. How long a frame is follows from its function, and
from whether it asks or answers; the checksum proves it.
"""

from __future__ import annotations

from typing import Final

from gears.network_sniffer.modbus.frame import Adu
from gears.network_sniffer.modbus.listener import Listener
from gears.network_sniffer.modbus.rare import IDENTIFY

NO_TID: Final = -1
MAX_FRAME: Final = 256
_FIXED_REQUESTS: Final = {
    **dict.fromkeys((1, 2, 3, 4, 5, 6, 8), 8),
    **dict.fromkeys((7, 11, 12, 17), 4),
    22: 10,
    24: 6,
    43: 7,
}
_COUNTED_REQUESTS: Final = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}
"""Where the count of the bytes that follow stands."""
_FIXED_RESPONSES: Final = {**dict.fromkeys((5, 6, 8, 11, 15, 16), 8), 7: 5, 22: 10}
_COUNTED_RESPONSES: Final = dict.fromkeys((1, 2, 3, 4, 12, 17, 20, 21, 23), 2)


def _table() -> tuple[int, ...]:
    crcs = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        crcs.append(crc)
    return tuple(crcs)


_CRCS: Final = _table()


def crc16(data: bytes) -> int:
    """Give the checksum of a frame (2.5.1.2); over a frame with its checksum it is 0."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRCS[(crc ^ byte) & 0xFF]
    return crc


def frame_length(data: bytes, *, asks: bool) -> int | None:
    """Give the length of the frame that `data` begins with, checksum included.

    None: its function has no length that is known. Longer than `data`: as long at least.
    """
    if len(data) < 2:
        return 4
    function = data[1]
    if function & 0x80:
        return None if asks else 5
    fixed = (_FIXED_REQUESTS if asks else _FIXED_RESPONSES).get(function)
    if fixed is not None:
        return fixed
    at = (_COUNTED_REQUESTS if asks else _COUNTED_RESPONSES).get(function)
    if at is not None:
        return at + 3 + data[at] if len(data) > at else at + 3
    if function == 24:
        return 6 + (data[2] << 8 | data[3]) if len(data) > 3 else 6
    return _identification_length(data) if function == 43 else None


def _identification_length(data: bytes) -> int | None:
    """Give the length of an answer of function 43/14, or the least that it can be: its objects say theirs."""
    if len(data) < 3 or data[2] != IDENTIFY:
        return None if len(data) > 2 else 5
    end = 8
    for _ in range(data[7] if len(data) > 7 else 0):
        end += 2 + (data[end + 1] if end + 1 < len(data) else 0)
    return end + 2


class RtuSide:
    """Collects the bytes of one side. Holds at most the beginning of one frame."""

    __slots__ = ("_frame", "_listener", "_number", "_partial", "_ts")

    def __init__(self, number: int, listener: Listener) -> None:
        self._number = number
        self._listener = listener
        self._partial = b""
        self._frame = 0
        self._ts = 0

    def data(self, payload: bytes, frame: int, ts: int) -> None:
        """Take the next segment's bytes."""
        if self._partial:
            joined, self._partial = self._partial + payload, b""
            if self._take(joined, max(frame, self._frame), max(ts, self._ts)):
                return
        if not self._take(payload, frame, ts) and self._listener.client_side() is not None:
            self._listener.violation(self._number, "bad_crc", payload, ts)

    def gap(self, lost: int, *, cut: bool) -> None:
        """Take note that the next `lost` bytes are missing."""
        self._partial = b""
        if self._listener.client_side() is not None:
            self._listener.gap(self._number, lost, cut=cut)

    def late(self, payload: bytes, frame: int, ts: int, position: int) -> None:
        """Take a segment that comes after what follows it: of use if it is one frame."""
        known = self._listener.client_side() is not None
        if known and len(payload) >= 4 and self._size(payload) == len(payload) and not crc16(payload):
            adu = Adu(NO_TID, payload[0], payload[1:-2], len(payload) - 2, frame, ts)
            self._listener.late(self._number, adu, position + len(payload))

    def boundary(self) -> None:
        """A datagram ends here: what is begun will not go on."""
        self._partial = b""

    def _take(self, data: bytes, frame: int, ts: int) -> bool:
        """Take frames up to the end of `data`; False, and nothing is taken any more, where there is none."""
        at = 0
        while at < len(data):
            size = self._size(data[at : at + MAX_FRAME])
            if size == 0:
                return False
            if at + size > len(data):
                if self._listener.client_side() is None:
                    return False
                self._partial, self._frame, self._ts = data[at:], frame, ts
                return True
            pdu = data[at + 1 : at + size - 2]
            adu = Adu(NO_TID, data[at], pdu, size - 2, frame, ts)
            if self._listener.client_side() is None and not self._listener.recognises(
                self._number, adu, alone=at + size == len(data)
            ):
                return False
            self._listener.adu(self._number, adu)
            at += size
        return True

    def _size(self, data: bytes) -> int:
        """Give the length of the frame at the beginning, more than `data` if its end is to come, or 0."""
        client = self._listener.client_side()
        ways = (True, False) if client is None else (client == self._number,)
        for asks in ways:
            size = frame_length(data, asks=asks)
            if size is None:
                # Only its end can tell: a frame that is all there is.
                size = len(data)
            if size > len(data):
                if client is not None and size <= MAX_FRAME:
                    return size
            elif size >= 4 and not crc16(data[:size]):
                return size
        return 0
