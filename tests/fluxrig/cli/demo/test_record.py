"""The recording that ships is what the recorder makes, and holds what the demo shows."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import PcapReader

from fluxrig.cli.demo import record
from fluxrig.cli.demo.capture import LOOPBACK, RECORDING, capture_socket, may_capture
from fluxrig.cli.demo.scada import STATION


def functions(pcap: Path) -> Counter[tuple[str, int]]:
    """Count the Modbus function codes by sender, as an independent reader (scapy) sees them."""
    found: Counter[tuple[str, int]] = Counter()
    with PcapReader(str(pcap)) as packets:
        for packet in packets:
            if adu := bytes(packet[TCP].payload):
                found[packet[IP].src, adu[7]] += 1
    return found


def test_the_recording_holds_reads_writes_and_exceptions() -> None:
    """All four tables, writes of the speed, and refusals are in it, and it's small enough to ship."""
    assert RECORDING.stat().st_size < 200_000
    found = functions(RECORDING)
    assert all(found[STATION, function] > 5 for function in (1, 2, 3, 4, 6))
    assert found["127.0.0.1", 0x83] > 5


def test_only_the_station_is_in_the_recording() -> None:
    """No packet of anybody else on the machine that recorded it was kept."""
    with PcapReader(str(RECORDING)) as packets:
        assert all(STATION in (packet[IP].src, packet[IP].dst) for packet in packets)


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (b"", False),
        (b"\0" * 12 + b"\x08\x00" + b"\0" * 12 + socket.inet_aton(STATION) + bytes(4), True),
        (b"\0" * 12 + b"\x08\x00" + b"\0" * 12 + bytes(4) + socket.inet_aton(STATION), True),
        (b"\0" * 12 + b"\x08\x00" + b"\0" * 12 + bytes(4) + socket.inet_aton("127.0.0.1"), False),
        (b"\0" * 12 + b"\x86\xdd" + b"\0" * 12 + socket.inet_aton(STATION) + bytes(4), False),
    ],
)
def test_the_recorder_keeps_the_station_alone(frame: bytes, wanted: bool) -> None:
    """IPv4 frames from or to the station are kept; others, and what is cut short, are not."""
    assert record.is_of_station(frame) is wanted


@pytest.mark.root
@pytest.mark.skipif(not may_capture(), reason="needs root or CAP_NET_RAW for a capture socket")
def test_the_recorder_captures_each_frame_once() -> None:
    """Loopback shows a frame as it leaves and as it arrives; the recorder takes one."""
    udp = partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with udp() as sender, udp() as receiver:
        receiver.bind((STATION, 0))
        sender.connect(receiver.getsockname())
        marker, end = b"recorded once", b"the end"
        with capture_socket(LOOPBACK) as tap:
            for datagram in (marker, end):
                sender.send(datagram)
            arrived = (frame for _, frame in record.frames(tap, seconds=5))
            seen = takewhile(lambda frame: not frame.endswith(end), arrived)
            assert sum(frame.endswith(marker) for frame in seen) == 1
