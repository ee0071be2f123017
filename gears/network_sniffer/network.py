"""From a frame to its TCP segment: link layer, VLAN tags, IPv4 or IPv6, TCP. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

from gears.network_sniffer.packet import LinkType

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

Segment: TypeAlias = tuple[bytes, int, int, int, bytes, int]
"""(key, sequence number, acknowledgement number, flags, payload, missing).

`key` is source address, destination address, source port, destination port, as on the wire; `missing` counts
the bytes of payload that were on the wire and not captured. A plain tuple: one is made for every packet.
"""


class Skip(Enum):
    """Why a frame has no TCP segment for us."""

    OTHER = "other"
    """Some other protocol."""
    LINK = "link"
    """A link layer that can't be read."""
    FRAGMENT = "fragment"
    """An IP fragment: not reassembled, so it is a hole in its stream."""
    CUT = "cut"
    """Headers that are cut short or contradict themselves."""


_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_TCP: Final = 6
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_OPTION_HEADERS: Final = frozenset({_HOP_BY_HOP, _ROUTING, _DESTINATION})

_ipv4_header: Final = struct.Struct(">BxHxxHxBxx8s").unpack_from
_ipv6_header: Final = struct.Struct(">BxxxHBx32s").unpack_from
_tcp_header: Final = struct.Struct(">4sIIBB").unpack_from


def tcp_segment(link: int, frame: bytes, length: int) -> Segment | Skip:
    """Give the TCP segment that a captured frame carries, or why there is none. `length` was on the wire."""
    find = _LINKS.get(link)
    if find is None:
        return Skip.LINK
    try:
        protocol, at = find(frame)
        if protocol == _IPV4:
            return _ipv4(frame, at, length)
        if protocol == _IPV6:
            return _ipv6(frame, at, length)
    except (IndexError, struct.error):
        return Skip.CUT
    return Skip.OTHER


def _ethernet(frame: bytes) -> tuple[int, int]:
    return _tagged(frame, frame[12] << 8 | frame[13], 14)


def _tagged(frame: bytes, protocol: int, at: int) -> tuple[int, int]:
    """Step over VLAN tags: 802.1Q, 802.1ad, stacked as deep as they come."""
    while protocol in _VLAN_TAGS:
        protocol = frame[at + 2] << 8 | frame[at + 3]
        at += 4
    return protocol, at


def _sll(frame: bytes) -> tuple[int, int]:
    return _tagged(frame, frame[14] << 8 | frame[15], 16)


def _sll2(frame: bytes) -> tuple[int, int]:
    return _tagged(frame, frame[0] << 8 | frame[1], 20)


def _raw(frame: bytes) -> tuple[int, int]:
    return _by_version(frame, 0)


def _loopback(frame: bytes) -> tuple[int, int]:
    """Four bytes of address family whose numbers and byte order differ by system: the IP version tells."""
    return _by_version(frame, 4)


def _by_version(frame: bytes, at: int) -> tuple[int, int]:
    return {4: _IPV4, 6: _IPV6}.get(frame[at] >> 4, 0), at


_LINKS: Final[dict[int, Callable[[bytes], tuple[int, int]]]] = {
    LinkType.ETHERNET: _ethernet,
    LinkType.LINUX_SLL: _sll,
    LinkType.LINUX_SLL2: _sll2,
    LinkType.RAW: _raw,
    LinkType.RAW_BSD: _raw,
    LinkType.RAW_OPENBSD: _raw,
    LinkType.IPV4: _raw,
    LinkType.IPV6: _raw,
    LinkType.NULL: _loopback,
    LinkType.LOOP: _loopback,
}


def _ipv4(frame: bytes, at: int, length: int) -> Segment | Skip:
    first, total, fragment, protocol, addresses = _ipv4_header(frame, at)
    if protocol != _TCP or first >> 4 != 4:
        return Skip.OTHER
    if fragment & 0x3FFF:
        return Skip.FRAGMENT
    # A length of 0 is left by segmentation offload: the frame itself says how long it is.
    return _tcp(frame, at + (first & 15) * 4, at + total if total else length, length, addresses)


def _ipv6(frame: bytes, at: int, wire: int) -> Segment | Skip:
    first, length, following, addresses = _ipv6_header(frame, at)
    if first >> 4 != 6:
        return Skip.OTHER
    end = at + 40 + length if length else wire
    at += 40
    while following != _TCP:
        if following in _OPTION_HEADERS:
            size = frame[at + 1] * 8 + 8
        elif following == _AUTHENTICATION:
            size = frame[at + 1] * 4 + 8
        elif following == _FRAGMENT:
            if (frame[at + 2] << 8 | frame[at + 3]) & 0xFFF9:
                return Skip.FRAGMENT
            size = 8
        else:
            return Skip.OTHER
        following = frame[at]
        at += size
    return _tcp(frame, at, end, wire, addresses)


def _tcp(frame: bytes, at: int, end: int, wire: int, addresses: bytes) -> Segment | Skip:
    ports, seq, ack, offset, flags = _tcp_header(frame, at)
    start = at + (offset >> 4) * 4
    if offset < 0x50 or start > end:
        return Skip.CUT
    if end > wire:
        # The IP header claims more than was sent: believe the wire.
        end = max(start, wire)
    payload = frame[start:end]
    return addresses + ports, seq, ack, flags, payload, end - start - len(payload)


def reverse(key: bytes) -> bytes:
    """Give the key of the other direction."""
    half = (len(key) - 4) // 2
    return key[half:-4] + key[:half] + key[-2:] + key[-4:-2]
