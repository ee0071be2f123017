"""Capture files of any format that is read: pcap, pcapng, and either of them in gzip."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from gears.network_sniffer import pcap, pcapng
from gears.network_sniffer.packet import CaptureDamaged, CaptureError, Packet

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP = b"\x1f\x8b"
_GZIP_FIELD = 8
"""No field of a gzip header or trailer is longer (RFC 1952); these are read whole."""
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
        buffered = io.BufferedReader(_Unpacked(buffered), _BUFFER)
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


class _Unpacked(io.RawIOBase):
    """What is in a gzip stream as far as it is there: one that grows is not waited for longer than needed."""

    def __init__(self, packed: io.BufferedReader) -> None:
        self._file = gzip.GzipFile(fileobj=cast("BinaryIO", _AsItComes(packed)))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer) as view:
            data = self._file.read1(len(view))
            view[: len(data)] = data
        return len(data)


class _AsItComes:
    """A file whose larger reads give what is there, as few bytes as that may be."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size) if size <= _GZIP_FIELD else self._file.read1(size)
