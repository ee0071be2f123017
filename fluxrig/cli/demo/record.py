"""Make scada.pcap again: `sudo .venv/bin/python -m fluxrig.cli.demo.record`.

Starts the press and the SCADA station and writes their traffic on loopback, 20 seconds of it, as a pcap file
with nanosecond time stamps (https://www.tcpdump.org/manpages/pcap-savefile.5.html). `fluxrig demo` replays it
where it may not capture.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import BinaryIO

from fluxrig.cli.demo.capture import LOOPBACK, RECORDING, capture_socket, may_capture
from fluxrig.cli.demo.children import Child, python_module
from fluxrig.cli.demo.scada import STATION

PORT = 5020
SNAP_LENGTH = 65535
LINKTYPE_ETHERNET = 1
NANOSECOND_MAGIC = 0xA1B23C4D
ETHERNET_AND_IPV4 = struct.Struct(">12x H 12x 4s 4s")
ETHERTYPE_IPV4 = 0x0800


def write_header(file: BinaryIO) -> None:
    file.write(struct.pack("<IHHiIII", NANOSECOND_MAGIC, 2, 4, 0, 0, SNAP_LENGTH, LINKTYPE_ETHERNET))


def write_packet(file: BinaryIO, ts_ns: int, frame: bytes) -> None:
    seconds, nanoseconds = divmod(ts_ns, 1_000_000_000)
    file.write(struct.pack("<IIII", seconds, nanoseconds, len(frame), len(frame)) + frame)


def is_of_station(frame: bytes) -> bool:
    """Whether an Ethernet frame is IPv4 to or from the SCADA station."""
    if len(frame) < ETHERNET_AND_IPV4.size:
        return False
    ethertype, source, destination = ETHERNET_AND_IPV4.unpack_from(frame)
    return ethertype == ETHERTYPE_IPV4 and socket.inet_aton(STATION) in (source, destination)


def frames(tap: socket.socket, seconds: float) -> Iterator[tuple[int, bytes]]:
    """Give what arrives at the socket, with the time in ns since the Unix epoch."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        tap.settimeout(left_s)
        with contextlib.suppress(TimeoutError):
            frame, address = tap.recvfrom(SNAP_LENGTH)
            # Loopback shows each frame twice: as it leaves and as it arrives.
            if address[2] != socket.PACKET_OUTGOING:
                yield time.time_ns(), frame


def record(path: Path, seconds: float, log_dir: Path) -> int:
    """Write the capture and give the number of packets in it."""
    with Child("plant", python_module("fluxrig.cli.demo.plant", "--port", PORT), log_dir) as plant:
        plant.wait_for("listening socket", plant.last_line)
        with (
            path.open("wb") as file,
            capture_socket(LOOPBACK) as tap,
            Child("scada", python_module("fluxrig.cli.demo.scada", "--port", PORT), log_dir),
        ):
            write_header(file)
            of_station = (frame for frame in frames(tap, seconds) if is_of_station(frame[1]))
            return sum(1 for _ in starmap(partial(write_packet, file), of_station))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fluxrig.cli.demo.record", description="Make scada.pcap.")
    parser.add_argument("--output", type=Path, default=RECORDING, help="default: %(default)s")
    parser.add_argument("--for", dest="seconds", type=float, default=20.0, help="default: %(default)s s")
    options = parser.parse_args()
    if not may_capture():
        parser.exit(1, "capturing needs Linux and root (or CAP_NET_RAW): run it with sudo\n")
    with tempfile.TemporaryDirectory() as logs:
        packets = record(options.output, options.seconds, Path(logs))
    print(f"{packets} packets in {options.output}")


if __name__ == "__main__":
    main()
