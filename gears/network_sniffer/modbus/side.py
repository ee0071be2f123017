"""One side of a Modbus/TCP connection: its bytes cut into ADUs, however they were sent."""

from __future__ import annotations

from typing import Final

from gears.network_sniffer.modbus.frame import MAX_LENGTH, Adu, header_fault, is_chain, is_oversize, mbap
from gears.network_sniffer.modbus.listener import Listener
from gears.network_sniffer.modbus.pdu import is_public

_new: Final = tuple.__new__
"""An Adu without the cost of its keyword arguments: one is made for each on the wire."""


class Side:
    """Collects the bytes of one side. Holds at most the beginning of one ADU."""

    __slots__ = ("_frame", "_listener", "_number", "_partial", "_sure", "_ts")

    def __init__(self, number: int, listener: Listener) -> None:
        self._number = number
        self._listener = listener
        self._partial = b""
        self._frame = 0
        self._ts = 0
        self._sure = False
        """Whether the next byte is known to begin an ADU, or to go on with `_partial`."""

    def data(self, payload: bytes, frame: int, ts: int) -> None:
        """Take the next segment's bytes."""
        joined = bool(self._partial)
        if joined:
            payload, frame, ts, joined = self._join(payload, frame, ts)
        at, end = 0, len(payload)
        while at + 8 <= end:
            tid, protocol, length, unit, _ = mbap(payload, at)
            stop = at + 6 + length
            if protocol or not 2 <= length <= MAX_LENGTH:
                self._breach(payload[at:], frame, ts)
                return
            if stop > end:
                break
            adu = _new(Adu, (tid, unit, payload[at + 7 : stop], length, frame, ts, True))
            if not (self._sure or self._recognise(adu, alone=not joined and _fills(payload, adu))):
                self._listener.violation(self._number, "unrecognised", payload[at:], ts)
                return
            self._listener.adu(self._number, adu)
            at = stop
        if at < end:
            self._keep(payload[at:], frame, ts)

    def gap(self, lost: int, *, cut: bool) -> None:
        """Take note that the next `lost` bytes are missing."""
        self._abandon()
        self._sure = False
        self._listener.gap(self._number, lost, cut=cut)

    def late(self, payload: bytes, frame: int, ts: int, position: int) -> None:
        """Take a segment that comes after what follows it: of use if it is whole ADUs."""
        at, end = 0, len(payload) if is_chain(payload) else 0
        while at < end:
            tid, _, length, unit, _ = mbap(payload, at)
            adu = Adu(tid, unit, payload[at + 7 : at + 6 + length], length, frame, ts)
            at += 6 + length
            if self._listener.recognises(self._number, adu, alone=True):
                self._listener.late(self._number, adu, position + at)

    def boundary(self) -> None:
        """A datagram ends here: what is begun will not go on."""
        self._abandon()
        self._sure = False

    def _join(self, payload: bytes, frame: int, ts: int) -> tuple[bytes, int, int, bool]:
        """Put what came before in front, unless the segment is whole ADUs that this would tear."""
        joined = self._partial + payload
        if is_chain(payload) and not is_chain(joined):
            self._abandon()
            return payload, frame, ts, False
        self._partial = b""
        return joined, max(frame, self._frame), max(ts, self._ts), True

    def _keep(self, rest: bytes, frame: int, ts: int) -> None:
        if header_fault(rest):
            self._breach(rest, frame, ts)
        else:
            self._partial, self._frame, self._ts = rest, frame, ts

    def _recognise(self, adu: Adu, *, alone: bool) -> bool:
        self._sure = self._listener.recognises(self._number, adu, alone=alone)
        return self._sure

    def _breach(self, data: bytes, frame: int, ts: int) -> None:
        """Report a violation of the framing; what is left of the segment is dropped."""
        if is_oversize(data):
            tid, _, length, unit, _ = mbap(data, 0)
            adu = Adu(tid, unit, data[7:], length, frame, ts)
            if self._sure or self._recognise(adu, alone=True):
                self._listener.violation(self._number, "length_too_long", data, ts)
                self._listener.adu(self._number, adu)
                return
        self._sure = False
        self._listener.violation(self._number, header_fault(data) or "unrecognised", data, ts)

    def _abandon(self) -> None:
        """Hand on the beginning of an ADU whose end will not come, when it tells what it was."""
        data, self._partial = self._partial, b""
        if len(data) < 8:
            return
        tid, _, length, unit, _ = mbap(data, 0)
        adu = Adu(tid, unit, data[7:], length, self._frame, self._ts, whole=False)
        if self._sure or self._listener.recognises(self._number, adu, alone=False):
            self._listener.adu(self._number, adu)


def _fills(payload: bytes, adu: Adu) -> bool:
    """Whether a segment holds ADUs and nothing else; of functions that have no known shape, one will do."""
    return is_chain(payload) or not is_public(adu.pdu)
