"""Capture files: whatever the format, the same packets come out."""

import gzip
import io
import struct

import pytest

from gears.network_sniffer.capture_file import read_capture, read_packets
from gears.network_sniffer.packet import CaptureDamaged, CaptureError, LinkType


@pytest.fixture
def packets(wire):
    return wire.plant_tape(5).packets


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("unit_ns", [1000, 1])
def test_pcap(wire, packets, order, unit_ns):
    """Either byte order and either resolution of a pcap gives the packets that were written."""
    assert wire.read(wire.pcap_bytes(packets, order, unit_ns)) == packets


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng(wire, packets, order):
    """Either byte order of a pcapng gives the packets that were written, to the nanosecond."""
    assert wire.read(wire.pcapng_bytes(packets, order)) == packets


def test_pcapng_sections(wire, packets):
    """Each section has its own byte order and interfaces; unknown blocks are stepped over."""
    data = wire.pcapng_bytes(packets) + wire.block(0x99, b"abcdef") + wire.pcapng_bytes(packets, ">")
    assert wire.read(data) == packets + packets


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "offset_s", "ticks", "ts"),
    [
        (9, 0, 5, 5),
        (0x80 | 10, 1_700_000_000, 512, 1_700_000_000_500_000_000),
        (0, 0, 2**64 - 1, 2**63 - 1),
        (6, 2**62, 1, 2**63 - 1),
        (6, -(2**62), 1, 0),
        (127, 0, 1, 0),
        (255, 0, 1, 0),
    ],
)
def test_pcapng_times(wire, packets, order, resolution, offset_s, ticks, ts):  # noqa: PLR0917
    """Times are read in any resolution; one that 64 bits do not hold is the nearest that they do."""
    options = struct.pack(f"{order}HHB3xHHqHH", 9, 1, resolution, 14, 8, offset_s, 0, 0)
    section = wire.block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    interface = wire.block(1, struct.pack(f"{order}HHI", 1, 0, 0) + options, order)
    size = len(packets[0].data)
    head = struct.pack(f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, size, size)
    found = wire.read(section + interface + wire.block(6, head + packets[0].data, order))
    assert [packet.ts for packet in found] == [ts]
    wire.sniff(found)


@pytest.mark.parametrize("write", ["pcap_bytes", "pcapng_bytes"])
def test_gzip(wire, packets, tmp_path, write):
    """A compressed capture is read as it is."""
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(getattr(wire, write)(packets)))
    assert list(read_capture(path)) == packets


@pytest.mark.parametrize("write", ["pcap_bytes", "pcapng_bytes"])
@pytest.mark.parametrize("size", [7, 1000])
def test_gzip_of_several_members(wire, packets, tmp_path, write, size):
    """Members one after another are one capture (RFC 1952, 2.2), wherever they part it, with zeros behind."""
    data = getattr(wire, write)(packets)
    members = [data[at : at + size] for at in range(0, len(data), size)]
    path = tmp_path / "capture.gz"
    path.write_bytes(b"".join(gzip.compress(member) for member in (b"", *members)) + bytes(100))
    assert list(read_capture(path)) == packets


@pytest.mark.parametrize("damage", ["checksum", "junk"])
def test_gzip_damaged_at_its_end(wire, packets, tmp_path, damage):
    """A wrong checksum, or what is no member behind the last one, costs no packet before it and is told."""
    whole = gzip.compress(wire.pcap_bytes(packets))
    path = tmp_path / "capture.gz"
    path.write_bytes(whole + b"junk" if damage == "junk" else whole[:-8] + bytes(4) + whole[-4:])
    read = []
    with pytest.raises(CaptureDamaged, match="gzip stream is damaged"):
        read.extend(read_capture(path))
    assert read == packets


@pytest.mark.parametrize("write", ["pcap_bytes", "pcapng_bytes"])
@pytest.mark.parametrize("compress", [False, True])
def test_cut_anywhere(wire, packets, write, compress):
    """A file cut at any byte gives all whole packets before the cut, then says that it is damaged."""
    data = getattr(wire, write)(packets)
    for length in range(24, len(data), 7):
        cut = data[:length]
        source = gzip.compress(data)[: len(gzip.compress(data)) * length // len(data)] if compress else cut
        got = []
        try:
            for packet in read_packets(io.BytesIO(source), "test"):
                got.append(packet)
        except (CaptureDamaged, CaptureError):
            pass
        assert got == packets[: len(got)]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x1f\x8b", b"\x1f\x8bnonsense", b"\xd4\xc3", bytes(64)])
def test_no_capture(data):
    """What is no capture is refused with one error, not with a traceback of the parser."""
    with pytest.raises((CaptureError, CaptureDamaged)):
        list(read_packets(io.BytesIO(data), "test"))


def test_missing_file(tmp_path):
    """A file that isn't there is named in the error."""
    with pytest.raises(CaptureError, match=r"nothing\.pcap: No such file"):
        list(read_capture(tmp_path / "nothing.pcap"))


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (LinkType.ETHERNET, bytes(12) + b"\x08\x00"),
        (LinkType.ETHERNET, bytes(12) + b"\x81\x00\x00\x64\x08\x00"),
        (LinkType.ETHERNET, bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x64\x08\x00"),
        (LinkType.LINUX_SLL, bytes(14) + b"\x08\x00"),
        (LinkType.LINUX_SLL2, b"\x08\x00" + bytes(18)),
        (LinkType.RAW, b""),
        (LinkType.RAW_BSD, b""),
        (LinkType.IPV4, b""),
        (LinkType.NULL, b"\x02\x00\x00\x00"),
        (LinkType.LOOP, b"\x00\x00\x00\x02"),
    ],
)
def test_link_layers(wire, packets, link, header):
    """The same traffic over any link layer, tagged or not, gives the same exchanges."""
    moved = []
    for packet in packets:
        data = header + packet.data[14:]
        moved.append(packet._replace(data=data, length=len(data)))
    data = wire.pcap_bytes(moved, link=link)
    assert wire.transactions(wire.sniff(wire.read(data))) == wire.transactions(wire.sniff(packets))
