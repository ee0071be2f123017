"""The pcap file format (draft-ietf-opsawg-pcap): both byte orders, microseconds and nanoseconds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from gears.network_sniffer.packet import CaptureDamaged, Packet

MAX_PACKET: Final = 1 << 20
"""No snap length in use is longer; a record that claims more is damaged."""

FORMATS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Magic number to byte order and nanoseconds in a unit of the time stamp's fraction."""


def read_pcap(file: BinaryIO) -> Iterator[Packet]:
    """Give the packets of a file whose magic is in `FORMATS`, then raise CaptureDamaged if it breaks off."""
    head = file.read(24)
    order, unit_ns = FORMATS[head[:4]]
    if len(head) < 24:
        raise CaptureDamaged("the file header is cut")
    link = struct.unpack_from(f"{order}I", head, 20)[0] & 0xFFFF
    header = struct.Struct(f"{order}IIII")
    unpack, read, make, number = header.unpack, file.read, tuple.__new__, 0
    while record := read(16):
        if len(record) < 16:
            raise CaptureDamaged(f"the file is cut in the header of packet {number + 1}")
        seconds, fraction, captured, length = unpack(record)
        if captured > MAX_PACKET:
            raise CaptureDamaged(f"packet {number + 1} claims {captured} bytes")
        data = read(captured)
        if len(data) < captured:
            raise CaptureDamaged(f"the file is cut in packet {number + 1}")
        number += 1
        yield make(Packet, (seconds * 1_000_000_000 + fraction * unit_ns, link, data, length))
