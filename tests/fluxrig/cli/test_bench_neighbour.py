"""`fluxrig bench neighbour` measures what it says it measures."""

from __future__ import annotations

import json
import socket
import struct
from itertools import pairwise
from pathlib import Path

import pytest

from fluxrig.cli.bench.neighbour_capture import write_capture
from fluxrig.cli.bench.neighbour_device import Device, answer, off_us, percentiles
from fluxrig.cli.bench.neighbour_run import Found, ratios
from fluxrig.errors import FluxrigError
from gears.network_sniffer.capture_file import read_capture
from tests.processes import FLUXRIG, running


def test_the_capture_is_real_traffic_at_the_rate(tmp_path: Path) -> None:
    """So many packets, evenly spaced, from stations that do not share connections, with right checksums."""
    file = tmp_path / "traffic.pcap"
    write_capture(file, 5000, 20_000)
    packets = list(read_capture(file))
    assert len(packets) == 5000
    assert {later.ts - earlier.ts for earlier, later in pairwise(packets)} == {50_000}
    stations = {packet.data[26:30] for packet in packets} - {b"\x7f\x00\x00\x01"}
    assert stations == {bytes([10, 0, 0, number]) for number in (1, 2, 3)}
    for packet in packets:
        total = sum(struct.unpack_from(">10H", packet.data, 14))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_the_device_answers_and_notes_when() -> None:
    """Each request has its answer and its time; the next client is served when the first is gone."""
    with Device() as device:
        for count in (1, 2):
            with socket.create_connection(("127.0.0.1", device.port), timeout=10) as client:
                client.sendall(struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 0, 2))
                assert client.recv(260) == struct.pack(">HHHBBB", 7, 0, 7, 1, 3, 4) + bytes(4)
            assert len(device.arrivals_ns) == count
    assert device.arrivals_ns == sorted(device.arrivals_ns)
    assert answer(struct.pack(">HHHBBHH", 1, 0, 6, 9, 4, 0, 1)) == struct.pack(
        ">HHHBBB", 1, 0, 5, 9, 4, 2
    ) + bytes(2)


def test_jitter_is_the_distance_from_the_period() -> None:
    """Late and early count alike; percentiles are by nearest rank; nothing measured is an error."""
    assert off_us([0, 10_000_000, 21_000_000, 30_000_000], 10_000_000) == [0.0, 1000.0, 1000.0]
    found = percentiles([float(value) for value in range(1, 1001)])
    assert found == {"p50_us": 500.0, "p99_us": 990.0, "p999_us": 999.0, "max_us": 1000.0}
    with pytest.raises(FluxrigError, match="measure for longer"):
        percentiles([])


def test_ratios_are_of_the_same_round() -> None:
    """Each round's p99 is compared with that of the poller alone in the same round."""
    alone = Found(rounds_us=[[1.0, 10.0], [2.0, 20.0]])
    beside = Found(rounds_us=[[5.0, 15.0], [2.0, 60.0]])
    assert ratios(beside, alone) == [1.5, 3.0]


def test_json_has_every_case(tmp_path: Path) -> None:
    """--json gives polls, percentiles and the rate that was sniffed of each case, and the ratios."""
    command = (
        *FLUXRIG,
        "bench",
        "neighbour",
        "--json",
        "--seconds",
        "1",
        "--rounds",
        "1",
        "--packets",
        "1000",
    )
    with running(command, tmp_path / "log") as bench:
        code, out = bench.wait(120.0)
    assert code == 0, bench.said()
    found = json.loads(out)
    assert found["packets_per_s"] == 1000
    assert set(found["cases"]) == set(found["ratio"]) == {"alone", "same_process", "isolated"}
    for name, case in found["cases"].items():
        assert case["polls"] > 1
        assert 0 < case["p50_us"] <= case["p99_us"] <= case["p999_us"] <= case["max_us"]
        assert (case["sniffed_packets_per_s"] > 0) is (name != "alone")
    assert found["ratio"]["alone"] == 1.0
