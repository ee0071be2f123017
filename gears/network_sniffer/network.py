"""From a frame to what it carries: link layer, VLAN tags, IPv4 or IPv6, TCP or UDP. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

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


class Datagram(NamedTuple):
    """A UDP datagram; `key` and `missing` as of a segment."""

    key: bytes
    payload: bytes
    missing: int


class Fragment(NamedTuple):
    """A piece of an IP packet."""

    key: bytes
    """What its other pieces have in common."""
    addresses: bytes
    protocol: int
    """What the packet carries; of the first piece's, where they differ."""
    offset: int
    """Of the piece within the packet, in bytes."""
    more: bool
    """Whether it is not the last one."""
    payload: bytes


class Skip(Enum):
    """Why a frame has nothing for us."""

    OTHER = "other"
    """Some other protocol."""
    LINK = "link"
    """A link layer that can't be read."""
    CUT = "cut"
    """Headers that are cut short or contradict themselves."""


Found: TypeAlias = Segment | Datagram | Fragment | Skip

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100})
TCP: Final = 6
UDP: Final = 17
_FRAGMENT, _AUTHENTICATION = 44, 51
_OPTION_HEADERS: Final = frozenset({0, 43, 60, 135, 139, 140})
"""Hop-by-hop, routing, destination, mobility, host identity, shim6: all say their length in the same way."""
EXTENSION_HEADERS: Final = _OPTION_HEADERS | {_FRAGMENT, _AUTHENTICATION}

_usual: Final = struct.Struct(">HBxHxxHxBxx12sIIBB").unpack_from
"""From byte 12 of a frame: EtherType, IPv4 without options, addresses and ports together, TCP."""
_USUAL_LENGTH: Final = 54
_ipv4_header: Final = struct.Struct(">BxHHHxBxx8s").unpack_from
_ipv6_header: Final = struct.Struct(">BxxxHBx32s").unpack_from
_udp_header: Final = struct.Struct(">4sHxx").unpack_from
_tcp_header: Final = struct.Struct(">4sIIBB").unpack_from


def dissect(link: int, frame: bytes, length: int) -> Found:
    """Give what a captured frame carries, or why there is nothing. `length` was on the wire."""
    if link == LinkType.ETHERNET and len(frame) >= _USUAL_LENGTH:
        # Nearly all frames: told by one look, without the steps that any other needs.
        ethertype, first, total, part, protocol, key, seq, ack, offset, flags = _usual(frame, 12)
        if ethertype == _IPV4 and first == 0x45 and protocol == TCP and not part & 0x3FFF:
            start, end = 34 + (offset >> 4) * 4, 14 + total
            if 54 <= start <= end <= len(frame):
                return key, seq, ack, flags, frame[start:end], 0
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


def whole(protocol: int, addresses: bytes, packet: bytes) -> Found:
    """Give what a packet put together from its fragments carries."""
    try:
        if len(addresses) == 32:
            return _extended(packet, 0, protocol, len(packet), len(packet), addresses)
        return _transport(packet, 0, protocol, len(packet), len(packet), addresses)
    except (IndexError, struct.error):
        return Skip.CUT


def macs(link: int, frame: bytes) -> tuple[bytes, bytes] | None:
    """Give the MAC addresses of source and target, where the link layer has them."""
    return (frame[6:12], frame[:6]) if link == LinkType.ETHERNET and len(frame) >= 12 else None


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


def _ipv4(frame: bytes, at: int, length: int) -> Found:
    first, total, ident, part, protocol, addresses = _ipv4_header(frame, at)
    if protocol not in (TCP, UDP) or first >> 4 != 4:
        return Skip.OTHER
    # A length of 0 is left by segmentation offload: the frame itself says how long it is.
    body, end = at + (first & 15) * 4, at + total if total else length
    if part & 0x3FFF:
        key = addresses + ident.to_bytes(2) + bytes([protocol])
        offset, more = (part & 0x1FFF) * 8, bool(part & 0x2000)
        return _fragment(frame[body:end], end - body, Fragment(key, addresses, protocol, offset, more, b""))
    return _transport(frame, body, protocol, end, length, addresses)


def _ipv6(frame: bytes, at: int, wire: int) -> Found:
    first, length, following, addresses = _ipv6_header(frame, at)
    if first >> 4 != 6:
        return Skip.OTHER
    return _extended(frame, at + 40, following, at + 40 + length if length else wire, wire, addresses)


def _extended(  # noqa: PLR0917 - a name for each would cost as much as the work
    frame: bytes, at: int, following: int, end: int, wire: int, addresses: bytes
) -> Found:
    """Step over extension headers (RFC 8200, section 4)."""
    while following in EXTENSION_HEADERS:
        size = 8
        if following == _FRAGMENT:
            place = frame[at + 2] << 8 | frame[at + 3]
            if place & 0xFFF9:
                key, body = addresses + frame[at + 4 : at + 8], at + 8
                piece = Fragment(key, addresses, frame[at], place & 0xFFF8, bool(place & 1), b"")
                return _fragment(frame[body:end], end - body, piece)
        elif following == _AUTHENTICATION:
            size = frame[at + 1] * 4 + 8
        else:
            size = frame[at + 1] * 8 + 8
        following = frame[at]
        at += size
    return _transport(frame, at, following, end, wire, addresses)


def _fragment(payload: bytes, length: int, piece: Fragment) -> Fragment | Skip:
    """Give a fragment with its payload; one that was cut off is of no use to the others."""
    return piece._replace(payload=payload) if payload and len(payload) == length else Skip.CUT


def _transport(  # noqa: PLR0917
    frame: bytes, at: int, protocol: int, end: int, wire: int, addresses: bytes
) -> Found:
    if protocol == TCP:
        return _tcp(frame, at, end, wire, addresses)
    if protocol == UDP:
        return _udp(frame, at, min(end, wire), addresses)
    return Skip.OTHER


def _udp(frame: bytes, at: int, end: int, addresses: bytes) -> Datagram | Skip:
    ports, length = _udp_header(frame, at)
    if length < 8:
        return Skip.CUT
    payload = frame[at + 8 : min(end, at + length)]
    return Datagram(addresses + ports, payload, max(0, min(end, at + length) - at - 8 - len(payload)))


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
