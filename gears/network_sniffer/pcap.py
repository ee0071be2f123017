"""The pcap file format (draft-ietf-opsawg-pcap): both byte orders, microseconds and nanoseconds."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final

from gears.network_sniffer.packet import CaptureDamaged, Packet

MAX_PACKET: Final = 1 << 20
"""No snap length in use is longer; a record that claims more is damaged."""

_BLOCK: Final = 1 << 16
"""Bytes read at a time."""
_RECORD: Final = 16
"""Bytes in front of each packet."""

FORMATS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Magic number to byte order and nanoseconds in a unit of the time stamp's fraction."""


def read_pcap(file: io.BufferedReader) -> Iterator[Packet]:
    """Give the packets of a file whose magic is in `FORMATS`, then raise CaptureDamaged if it breaks off."""
    head = file.read(24)
    order, unit_ns = FORMATS[head[:4]]
    if len(head) < 24:
        raise CaptureDamaged("the file header is cut")
    link = struct.unpack_from(f"{order}I", head, 20)[0] & 0xFFFF
    unpack, make = struct.Struct(f"{order}IIII").unpack_from, tuple.__new__
    data, number = b"", 0
    # Not `read`: what a damaged gzip stream gave before it broke would be lost with it.
    while more := file.read1(_BLOCK):
        data += more
        at, end, captured = 0, len(data), 0
        while (start := at + _RECORD) <= end:
            seconds, fraction, captured, length = unpack(data, at)
            stop = start + captured
            if stop > end:
                break
            number += 1
            ts = seconds * 1_000_000_000 + fraction * unit_ns
            yield make(Packet, (ts, link, data[start:stop], length))
            at = stop
        if captured > MAX_PACKET:
            raise CaptureDamaged(f"packet {number + 1} claims {captured} bytes")
        data = data[at:]
    if data:
        where = "the header of packet" if len(data) < _RECORD else "packet"
        raise CaptureDamaged(f"the file is cut in {where} {number + 1}")
