"""Capture filters: the kernel's program and the predicate for files agree on every frame."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.network_sniffer.bpf import assemble, compile_filter
from gears.network_sniffer.capture_filter import accepts, parse_filter
from gears.network_sniffer.network import dissect
from gears.network_sniffer.packet import LinkType


def run_bpf(program, frame, packet_type=0):
    """Run a classic BPF program as the kernel does; a load beyond the frame refuses it."""
    a = x = at = 0
    for _ in range(100_000):
        code, jt, jf, k = program[at]
        at += 1
        if code in (0x20, 0x28, 0x30, 0x48):
            size = {0x20: 4, 0x28: 2, 0x30: 1, 0x48: 2}[code]
            place = k + x if code == 0x48 else k
            if place == 0xFFFFF004:
                a = packet_type
                continue
            if place + size > len(frame):
                return 0
            a = int.from_bytes(frame[place : place + size])
        elif code == 0xB1:
            x = (frame[k] & 15) * 4
        elif code == 0x54:
            a &= k
        elif code == 0x05:
            at += k
        elif code in (0x15, 0x25, 0x35, 0x45):
            yes = {0x15: a == k, 0x25: a > k, 0x35: a >= k, 0x45: bool(a & k)}[code]
            at += jt if yes else jf
        elif code == 0x06:
            return k
        else:
            raise AssertionError(hex(code))
    raise AssertionError("the program does not end")


def make_frame(source, target, ports, tags=(), options=0):
    """Give an Ethernet frame with a TCP segment from `source` to `target`."""
    first, second = ip_address(source), ip_address(target)
    tcp = struct.pack(">HHIIBBHHH", *ports, 1, 1, 0x50, 24, 0, 0, 0) + b"x"
    if first.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45 + options, 0, 20 + 4 * options + len(tcp), 0, 0, 9, 6, 0)
        body, ethertype = head + first.packed + second.packed + bytes(4 * options) + tcp, 0x0800
    else:
        body = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 9) + first.packed + second.packed + tcp
        ethertype = 0x86DD
    tagged = b"".join(struct.pack(">HH", tag, 5) for tag in tags)
    return bytes(12) + tagged + struct.pack(">H", ethertype) + body


ADDRESSES = ["10.0.0.5", "10.0.1.5", "192.168.7.1", "fd00::5", "fd00::1:5"]
pairs = st.sampled_from([(a, b) for a in ADDRESSES for b in ADDRESSES if (":" in a) == (":" in b)])
port = st.sampled_from([80, 501, 502, 503, 40_000])
frames = st.builds(
    lambda pair, ports, tags, options: make_frame(*pair, ports, tags, options),
    pairs,
    st.tuples(port, port),
    st.sampled_from([(), (0x8100,), (0x88A8, 0x8100)]),
    st.integers(0, 3),
)

networks = st.sampled_from(["10.0.0.0/24", "10.0.0.0/8", "fd00::/112", "::/0"])
direction = st.sampled_from(["", "src ", "dst "])
primitives = st.one_of(
    st.sampled_from(["tcp", "udp", "ip", "ip6"]),
    st.builds("{}port {}".format, direction, port),
    st.builds("{} {}port {}".format, st.sampled_from(["tcp", "udp"]), direction, port),
    st.builds("{}portrange 502-{}".format, direction, st.integers(502, 600)),
    st.builds("{}host {}".format, direction, st.sampled_from(ADDRESSES)),
    st.builds(
        "{}net {}".format, direction, st.sampled_from(["10.0.0.0/24", "10.0.0.0/8", "fd00::/112", "::/0"])
    ),
)
expressions = st.recursive(
    primitives,
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("not ({})".format, inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=6,
)


@given(expressions, frames)
def test_kernel_and_file_agree(text, frame):
    """A filter takes the same frames live and from a file, whatever it says and whatever the frame."""
    expression = parse_filter(text)
    key = dissect(LinkType.ETHERNET, frame, len(frame))[0]
    assert bool(run_bpf(compile_filter(expression), frame)) == accepts(expression)(key)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("", True),
        ("tcp port 502", True),
        ("tcp port 503", False),
        ("src port 502", False),
        ("dst port 502 && host 10.0.0.2", True),
        ("src host 10.0.0.2 || net 11.0.0.0/8", False),
        ("! (port 80 or portrange 500-600)", False),
        ("10.0.0.1 and tcp", True),
        ("ip6", False),
    ],
)
def test_meaning(text, taken):
    """The forms mean what pcap-filter(7) says."""
    frame = make_frame("10.0.0.1", "10.0.0.2", (40_000, 502))
    assert bool(run_bpf(compile_filter(parse_filter(text)), frame)) is taken


@pytest.mark.parametrize(
    "text",
    [
        "tcp prt 502",
        "port",
        "port 70000",
        "portrange 9-5",
        "host",
        "host plc",
        "(tcp",
        "tcp)",
        "and",
        "icmp",
        "(" * 90,
    ],
)
def test_faults(text):
    """What is no filter is refused with a reason, before anything starts."""
    with pytest.raises(ValueError, match=r"filter"):
        parse_filter(text)


@given(st.text(max_size=60))
def test_any_text(text):
    """No text whatever breaks the parser."""
    try:
        compile_filter(parse_filter(text))
    except ValueError as error:
        assert "filter" in str(error)  # noqa: PT017 - either way is fine, as long as it is one of them


def test_outgoing_on_loopback():
    """On loopback a frame is taken as received, and not once more as sent."""
    program = compile_filter(parse_filter("port 502"), drop_outgoing=True)
    frame = make_frame("127.0.0.1", "127.0.0.1", (40_000, 502))
    assert run_bpf(program, frame, packet_type=0)
    assert not run_bpf(program, frame, packet_type=4)


def test_other_protocols():
    """Frames without TCP are refused, short ones too; the program has the kernel's format."""
    program = compile_filter(parse_filter("tcp"))
    assert not run_bpf(program, bytes(12) + b"\x08\x06" + bytes(40))
    assert not run_bpf(program, bytes(20))
    assert len(assemble(program)) == 8 * len(program) < 8 * 4096
