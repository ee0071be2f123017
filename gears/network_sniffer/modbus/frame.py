"""Modbus/TCP framing: application data units out of bytes (MODBUS Messaging on TCP/IP V1.0b, 3.1).

An application data unit (ADU) is the MBAP header (transaction id, protocol id 0, length, unit) and the PDU. A
violation costs what is left of its segment and nothing more: the next segment is taken as a fresh start.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

HEADER: Final = 7
MAX_LENGTH: Final = 254
"""Of unit and PDU together."""
MAX_OVERSIZE: Final = 1024
"""Some vendors' functions exceed the specification; beyond this it is no ADU by any reading."""

mbap: Final = struct.Struct(">HHHBB").unpack_from


class Adu(NamedTuple):
    """One application data unit."""

    tid: int
    unit: int
    pdu: bytes
    length: int
    """The MBAP length field: unit and PDU, in bytes."""
    frame: int
    """The frame that completed it."""
    ts: int
    whole: bool = True
    """Whether all of it was captured."""


def header_fault(data: bytes) -> str | None:
    """Say what is wrong with the beginning of an ADU, as far as it is there, or None."""
    if any(data[2:4]):
        return "bad_protocol_id"
    if len(data) >= 6:
        length = data[4] << 8 | data[5]
        if length < 2:
            return "length_too_short"
        if length > MAX_LENGTH:
            return "length_too_long"
    return None


def is_chain(data: bytes) -> bool:
    """Whether the bytes are whole ADUs, one or several, to the last byte."""
    at, end = 0, len(data)
    while at + 8 <= end:
        _, protocol, length, _, _ = mbap(data, at)
        if protocol or not 2 <= length <= MAX_LENGTH:
            return False
        at += 6 + length
    return at == end > 0


def is_oversize(data: bytes) -> bool:
    """Whether this is one ADU that is longer than allowed and ends where its segment ends."""
    if len(data) < 8:
        return False
    _, protocol, length, _, _ = mbap(data, 0)
    return not protocol and MAX_LENGTH < length <= MAX_OVERSIZE and len(data) == 6 + length
