"""UDP, RTU over TCP, fragments and extension headers; packets are built by scapy, which shares no code."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from gears.network_sniffer.fragments import MAX_PACKETS, TIMEOUT_NS, Fragments
from gears.network_sniffer.modbus.rtu import crc16
from gears.network_sniffer.network import Fragment
from gears.network_sniffer.packet import LinkType, Packet

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def packets_of(wire, frames):
    frames = [bytes(frame) for frame in frames]
    return [
        Packet(wire.START_NS + n * wire.STEP_NS, LinkType.ETHERNET, frame, len(frame))
        for n, frame in enumerate(frames)
    ]


def segments(wire, quantity=100, v6=False):
    """Give the request and the response of one large read, as scapy layers above Ethernet."""
    ask, answer = wire.read_request(1, 7, quantity), wire.read_response(1, 7, quantity)
    layer = (lambda a, b: IPv6(src=a, dst=b)) if v6 else (lambda a, b: IP(src=a, dst=b, id=77))
    a, b = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
    there = layer(a, b) / TCP(sport=40000, dport=502, seq=1, ack=1, flags="PA") / Raw(ask)
    back = layer(b, a) / TCP(sport=502, dport=40000, seq=1, ack=1 + len(ask), flags="PA") / Raw(answer)
    return there, back


def assert_read(wire, found, quantity=100):
    assert [data["status"] for data in found] == ["ok"]
    assert found[0]["read"]["values"] == wire.values_at(7, quantity)


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "twice"])
def test_ipv4_fragments(wire, order):
    """A packet in fragments, in any order and also sent twice, is read as if it were whole."""
    there, back = segments(wire)
    pieces = [Ether(**MACS) / piece for piece in fragment(back, fragsize=64)]
    assert len(pieces) > 3
    if order == "backward":
        pieces.reverse()
    elif order == "shuffled":
        random.Random(4).shuffle(pieces)
    elif order == "twice":
        pieces += pieces
    messages = wire.sniff(packets_of(wire, [Ether(**MACS) / there, *pieces]))
    assert_read(wire, wire.transactions(messages))
    assert wire.counters(messages)["fragmented_joined"] >= 1


def test_lost_fragment(wire):
    """A packet of which a fragment is lost is counted, and nothing is made of it."""
    there, back = segments(wire)
    pieces = [Ether(**MACS) / piece for piece in fragment(back, fragsize=64)]
    del pieces[1]
    messages = wire.sniff(packets_of(wire, [Ether(**MACS) / there, *pieces]))
    assert not any("read" in data for data in wire.transactions(messages))
    assert wire.counters(messages)["fragmented_lost"] == 1


def test_ipv6_fragments(wire):
    """Fragments of IPv6 are put together, too."""
    there, back = segments(wire, v6=True)
    whole = IPv6(src="fd00::2", dst="fd00::1") / IPv6ExtHdrFragment(id=9) / back.payload
    pieces = [Ether(**MACS) / piece for piece in fragment6(whole, 160)]
    assert len(pieces) > 1
    assert_read(wire, wire.transactions(wire.sniff(packets_of(wire, [Ether(**MACS) / there, *pieces[::-1]]))))


def test_ipv6_extension_headers(wire):
    """Extension headers before TCP are stepped over."""
    there, back = segments(wire, v6=True)
    headers = IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::9"]) / IPv6ExtHdrDestOpt()
    frames = [Ether(**MACS) / IPv6(src=one.src, dst=one.dst) / headers / one.payload for one in (there, back)]
    assert_read(wire, wire.transactions(wire.sniff(packets_of(wire, frames))))


def test_stacked_tags(wire):
    """802.1ad around 802.1Q is stepped over."""
    frames = [Ether(**MACS) / Dot1AD(vlan=5) / Dot1Q(vlan=100) / one for one in segments(wire)]
    assert_read(wire, wire.transactions(wire.sniff(packets_of(wire, frames))))


def test_fragments_are_bounded():
    """Fragments that never become whole cost a bounded table, and go with time."""
    fragments = Fragments()
    for n in range(3 * MAX_PACKETS):
        fragments.add(Fragment(n.to_bytes(4), b"", 6, 8, True, b"x" * 8), n)
    assert len(fragments._waiting) == MAX_PACKETS
    fragments.sweep(TIMEOUT_NS + 4 * MAX_PACKETS)
    assert fragments.lost == 3 * MAX_PACKETS


@given(st.binary(min_size=9, max_size=400), st.lists(st.integers(1, 49), max_size=6), st.randoms())
def test_any_cut(content, cuts, chance):
    """However a packet is cut and in whatever order its pieces come, it is put together as it was."""
    places = sorted({0, *(cut * 8 for cut in cuts if cut * 8 < len(content))})
    ends = [*places[1:], len(content)]
    pieces = [
        Fragment(b"key", b"ends", 17, start, end < len(content), content[start:end])
        for start, end in zip(places, ends, strict=True)
    ]
    chance.shuffle(pieces)
    fragments = Fragments()
    results = [fragments.add(piece, 1) for piece in pieces]
    assert results[-1] == (17, b"ends", content)
    assert results[:-1] == [None] * (len(pieces) - 1)


def udp_frames(wire, exchanges, port=502):
    for tid in range(exchanges):
        ends = {"src": "10.0.0.1", "dst": "10.0.0.2"}
        back = {"src": "10.0.0.2", "dst": "10.0.0.1"}
        yield Ether(**MACS) / IP(**ends) / UDP(sport=4000, dport=port) / Raw(wire.read_request(tid, 7, 3))
        yield Ether(**MACS) / IP(**back) / UDP(sport=port, dport=4000) / Raw(wire.read_response(tid, 7, 3))


@pytest.mark.parametrize("port", [502, 5020])
@pytest.mark.parametrize("mirror", [1, 2])
def test_udp(wire, port, mirror):
    """Modbus over UDP is found on any port, once also where a mirror delivers every frame twice."""
    packets = [packet for packet in packets_of(wire, udp_frames(wire, 5, port)) for _ in range(mirror)]
    found = wire.transactions(wire.sniff(packets))
    assert [data["status"] for data in found] == ["ok"] * 5
    assert {tuple(data["read"]["values"]) for data in found} == {tuple(wire.values_at(7, 3))}


def test_udp_cut(wire):
    """A datagram that ends in the middle of an ADU is truncated, and the next one is not glued to it."""
    frames = [bytes(frame) for frame in udp_frames(wire, 2)]
    packets = packets_of(wire, frames)
    packets[1] = packets[1]._replace(data=packets[1].data[:-2])
    found = wire.transactions(wire.sniff(packets))
    assert [data["status"] for data in found] == ["truncated", "ok"]
    assert "read" not in found[0]


def rtu(pdu, unit=1):
    frame = bytes([unit]) + pdu
    return frame + struct.pack("<H", crc16(frame))


def rtu_tape(wire, port=4001, exchanges=5):
    tape = wire.Tape(server=("10.0.0.2", port))
    tape.connect()
    for n in range(exchanges):
        tape.send(0, rtu(wire.read_request(0, n, 3)[7:]))
        tape.send(1, rtu(wire.read_response(0, n, 3)[7:]))
    return tape


def test_crc():
    """The checksum is that of the specification's appendix: 02 07 gives 41 12."""
    assert crc16(bytes.fromhex("0207")) == 0x1241
    assert crc16(bytes.fromhex("02074112")) == 0


@pytest.mark.parametrize("port", [502, 4001])
def test_rtu_over_tcp(wire, port):
    """RTU frames over TCP are known by their checksum, on any port, and have no transaction id."""
    messages = wire.sniff(rtu_tape(wire, port).packets)
    found = wire.transactions(messages)
    assert [data["read"]["values"] for data in found] == [wire.values_at(n, 3) for n in range(5)]
    assert not any("tid" in data for data in found)
    assert not wire.anomalies(messages)
    links = [message.data["protocol"] for message in messages if message.schema == "ot.link/1"]
    assert links == ["modbus/rtu"]


def test_rtu_split_and_joined(wire):
    """Once known, RTU frames may be split anywhere, or share a segment."""
    tape = rtu_tape(wire)
    frames = [rtu(wire.read_request(0, n, 3)[7:]) for n in (20, 21)]
    tape.send(0, frames[0][:3])
    tape.send(0, frames[0][3:] + frames[1])
    answers = b"".join(rtu(wire.read_response(0, n, 3)[7:]) for n in (20, 21))
    tape.send(1, answers[:10])
    tape.send(1, answers[10:])
    found = wire.transactions(wire.sniff(tape.packets))
    assert [data["read"]["values"] for data in found[5:]] == [wire.values_at(n, 3) for n in (20, 21)]


def test_rtu_bad_checksum(wire):
    """A frame whose checksum is wrong gives an anomaly and no values; the next one is read."""
    tape = rtu_tape(wire, exchanges=2)
    tape.send(0, rtu(wire.read_request(0, 9, 3)[7:]))
    broken = bytearray(rtu(wire.read_response(0, 9, 3)[7:]))
    broken[5] ^= 0x40
    tape.send(1, bytes(broken))
    tape.send(0, rtu(wire.read_request(0, 10, 2)[7:]))
    tape.send(1, rtu(wire.read_response(0, 10, 2)[7:]))
    messages = wire.sniff(tape.packets)
    assert [data["code"] for data in wire.anomalies(messages)] == ["bad_crc"]
    read = [data["read"]["values"] for data in wire.transactions(messages) if "read" in data]
    assert read == [wire.values_at(0, 3), wire.values_at(1, 3), wire.values_at(10, 2)]


def test_snap_length(wire):
    """Payloads that the snap length cut off are told as truncated, not as lost."""
    packets = [packet._replace(data=packet.data[:54]) for packet in wire.plant_tape(5).packets]
    messages = wire.sniff(packets)
    assert {data["code"] for data in wire.anomalies(messages)} == {"truncated"}
    counters = wire.counters(messages)
    assert counters["lost_bytes"] == 0
    assert counters["truncated_bytes"] > 0
