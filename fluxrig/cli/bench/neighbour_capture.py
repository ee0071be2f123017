"""Makes a capture of dense traffic: the demo's SCADA station many times over, each from another address."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib.resources import files
from ipaddress import IPv4Address
from itertools import count, islice
from pathlib import Path
from typing import Final

_FILE_HEADER: Final = 24
_RECORD: Final = struct.Struct("<IIII")
"""Seconds, nanoseconds, captured and original length (draft-ietf-opsawg-pcap §5)."""
_FIRST_STATION: Final = IPv4Address("10.0.0.1")
_START_S: Final = 1_700_000_000
_STATION: Final = IPv4Address("127.0.0.2").packed
_ETHERNET_BYTES: Final = 14
_ADDRESSES_AT: Final = (_ETHERNET_BYTES + 12, _ETHERNET_BYTES + 16)
"""Where source and destination stand in a frame of Ethernet and IPv4 (RFC 791 §3.1)."""
_CHECKSUM_AT: Final = _ETHERNET_BYTES + 10


def write_capture(path: Path, packets: int, packets_per_s: int) -> None:
    """Write a capture (pcap, ns) of so many packets, evenly spaced."""
    template = files("fluxrig.cli.demo").joinpath("scada.pcap").read_bytes()
    with path.open("wb") as file:
        file.write(template[:_FILE_HEADER])
        for number, frame in enumerate(islice(_stations(template), packets)):
            seconds, ns = divmod(number * 1_000_000_000 // packets_per_s, 1_000_000_000)
            file.write(_RECORD.pack(_START_S + seconds, ns, len(frame), len(frame)) + frame)


def _stations(template: bytes) -> Iterator[bytes]:
    frames = list(_frames(template))
    for station in count():
        address = (_FIRST_STATION + station).packed
        for frame in frames:
            yield _moved(frame, address)


def _frames(capture: bytes) -> Iterator[bytes]:
    at = _FILE_HEADER
    while at < len(capture):
        _, _, length, _ = _RECORD.unpack_from(capture, at)
        at += _RECORD.size
        yield capture[at : at + length]
        at += length


def _moved(frame: bytes, address: bytes) -> bytes:
    """Give a frame as the station at `address` would have it, with the IP checksum that is due."""
    moved = bytearray(frame)
    for at in _ADDRESSES_AT:
        if moved[at : at + 4] == _STATION:
            moved[at : at + 4] = address
    moved[_CHECKSUM_AT : _CHECKSUM_AT + 2] = bytes(2)
    words = struct.unpack_from(">10H", moved, _ETHERNET_BYTES)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    moved[_CHECKSUM_AT : _CHECKSUM_AT + 2] = (~total & 0xFFFF).to_bytes(2)
    return bytes(moved)
