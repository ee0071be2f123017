"""From frame to segment: every header is believed only as far as the frame goes."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from gears.network_sniffer.network import Datagram, Fragment, Skip, dissect, reverse
from gears.network_sniffer.packet import LinkType

A6, B6 = bytes(15) + b"\x01", bytes(15) + b"\x02"


def ipv6(body, following=6):
    return bytes(12) + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(body), following, 64) + A6 + B6 + body


def segment(frame, length=None):
    return dissect(LinkType.ETHERNET, frame, len(frame) if length is None else length)


def test_segment(wire):
    """The fields of a segment are those that were sent; Ethernet padding is none of the payload."""
    body = wire.ipv4(wire.CLIENT, wire.SERVER, wire.tcp((wire.CLIENT, wire.SERVER), 7, 9, b"abc"))
    key, *rest = segment(wire.ethernet(body) + bytes(6))
    assert rest == [7, 9, wire.ACK | wire.PUSH, b"abc", 0]
    assert key == bytes([10, 0, 0, 1, 10, 0, 0, 2]) + struct.pack(">HH", 40_000, 502)
    assert reverse(reverse(key)) == key


def test_snap_length(wire):
    """Payload that a snap length cut off is counted as missing."""
    body = wire.ipv4(wire.CLIENT, wire.SERVER, wire.tcp((wire.CLIENT, wire.SERVER), 7, 9, b"abcdef"))
    frame = wire.ethernet(body)
    assert segment(frame[:-4], len(frame))[4:] == (b"ab", 4)


def test_lying_length(wire):
    """An IP header that claims more than was on the wire does not make bytes missing."""
    body = bytearray(wire.ipv4(wire.CLIENT, wire.SERVER, wire.tcp((wire.CLIENT, wire.SERVER), 7, 9, b"abc")))
    body[2:4] = b"\xff\xff"
    assert segment(wire.ethernet(bytes(body)))[4:] == (b"abc", 0)


def test_ipv6_extension_headers(wire):
    """Options, routing and an atomic fragment header are stepped over; a real fragment is told apart."""
    tcp = wire.tcp((wire.CLIENT, wire.SERVER), 7, 9, b"abc")
    hop = bytes([60, 0]) + bytes(6)
    destination = bytes([44, 0]) + bytes(6)
    assert segment(ipv6(hop + destination + bytes([6, 0, 0, 0]) + bytes(4) + tcp, 0))[4] == b"abc"
    found = segment(ipv6(bytes([6, 0, 0, 8]) + bytes(4) + tcp, 44))
    assert found == Fragment(A6 + B6 + bytes(4), A6 + B6, 6, 8, False, tcp)


def test_ipv4_fragment(wire):
    """A fragment is told apart, and not taken for a segment."""
    body = bytearray(wire.ipv4(wire.CLIENT, wire.SERVER, wire.tcp((wire.CLIENT, wire.SERVER), 7, 9, b"abc")))
    body[6:8] = b"\x20\x00"
    found = segment(wire.ethernet(bytes(body)))
    assert isinstance(found, Fragment)
    assert (found.offset, found.more, found.payload) == (0, True, bytes(body[20:]))


def test_others():
    """Other protocols and link layers are told apart."""
    assert segment(bytes(12) + b"\x08\x06" + bytes(28)) is Skip.OTHER
    assert dissect(147, bytes(60), 60) is Skip.LINK


@given(st.sampled_from(sorted(LinkType)), st.binary(max_size=120))
def test_any_bytes(link, data):
    """No bytes whatever make the decoder raise."""
    dissect(link, data, len(data))


@given(st.data())
def test_damaged_headers(data):
    """A frame with any byte changed and cut anywhere gives a segment within the frame, or none."""
    body = ipv6(struct.pack(">HHIIBBHHH", 502, 1, 7, 9, 0x50, 24, 0, 0, 0) + b"abcdef")
    frame = bytearray(body[: data.draw(st.integers(0, len(body)))])
    if frame:
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    found = segment(bytes(frame), len(body))
    assert isinstance(found, Skip | Datagram | Fragment) or (found[4] in bytes(frame) and found[5] >= 0)
