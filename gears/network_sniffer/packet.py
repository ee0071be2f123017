"""What the sources of packets hand on, and what can go wrong with a capture."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from fluxrig.errors import FluxrigError


class LinkType(IntEnum):
    """The link layers that can be read (https://www.tcpdump.org/linktypes.html)."""

    NULL = 0
    ETHERNET = 1
    RAW_BSD = 12
    RAW_OPENBSD = 14
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class Packet(NamedTuple):
    """One captured frame."""

    ts: int
    """When it was captured, ns since the Unix epoch."""
    link: int
    """Its link layer, a `LinkType` or a number that can't be read."""
    data: bytes
    """What was captured of it; less than was on the wire when a snap length cut it."""
    length: int
    """How many bytes were on the wire."""


class CaptureError(FluxrigError):
    """This is no capture that can be read."""


class CaptureDamaged(FluxrigError):
    """The capture ends in the middle of something; all packets before it were read."""
