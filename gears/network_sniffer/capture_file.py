"""Capture files of any format that is read: pcap, pcapng, and either of them in gzip."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from gears.network_sniffer import pcap, pcapng
from gears.network_sniffer.packet import CaptureDamaged, CaptureError, Packet

_GZIP = b"\x1f\x8b"
_BUFFER = 1 << 18


def read_capture(path: Path) -> Iterator[Packet]:
    """Give the packets of a capture file, one by one, in the order of the file.

    Raises CaptureError when it can't be read at all, and CaptureDamaged, after the last whole packet, when it
    ends in the middle of one.
    """
    try:
        with path.open("rb", buffering=_BUFFER) as file:
            yield from read_packets(file, str(path))
    except OSError as error:
        raise CaptureError(f"can't read the capture {path}: {error.strerror or error}") from error


def read_packets(file: BinaryIO, name: str) -> Iterator[Packet]:
    """Give the packets of an open capture. Raises as `read_capture` does."""
    buffered = cast("io.BufferedReader", file if hasattr(file, "peek") else io.BufferedReader(file))
    if buffered.peek(2)[:2] == _GZIP:
        buffered = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=buffered)), _BUFFER)
    try:
        magic = buffered.peek(4)[:4]
        if magic in pcap.FORMATS:
            yield from pcap.read_pcap(buffered)
        elif magic == pcapng.MAGIC:
            yield from pcapng.read_pcapng(buffered)
        else:
            raise CaptureError(
                f"{name} is no capture: it starts with {magic.hex() or 'nothing'}; give a pcap or pcapng"
            )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CaptureDamaged(f"the gzip stream is damaged: {error}") from error
