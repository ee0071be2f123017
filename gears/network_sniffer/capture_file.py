"""Capture files of any format that is read: pcap, pcapng, and either of them in gzip."""

from __future__ import annotations

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
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""For zlib: a gzip header and trailer, and any window."""
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
    except (EOFError, zlib.error) as error:
        raise CaptureDamaged(f"the gzip stream is damaged: {error}") from error


class _Unpacked(io.RawIOBase):
    """What is in a gzip stream (RFC 1952), of one member or several, as far as it is there.

    One that grows is never waited for while something can be given: `gzip.GzipFile` waits for whole buffers.
    """

    def __init__(self, packed: io.BufferedReader) -> None:
        self._packed = packed
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._rest = b""
        """What was read and not yet unpacked."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer) as view:
            data = self._next(len(view))
            view[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        """Give at least a byte, or nothing at the end of the last member."""
        while True:
            if self._member.eof and not self._begin_member():
                return b""
            data = self._unpack(size)
            if data:
                return data
            if not self._member.eof:
                self._rest += self._packed.read1(_BUFFER)
                if not self._rest:
                    raise EOFError("it ends before its last member does")

    def _unpack(self, size: int) -> bytes:
        """Unpack up to `size` bytes. Raises zlib.error where there is damage and nothing before it."""
        member = self._member.copy()
        try:
            data = self._member.decompress(self._rest, size)
        except zlib.error:
            # Of a call that meets damage nothing is given: byte by byte, all is given up to there.
            self._member = member
            return self._salvage(size)
        self._rest = self._member.unconsumed_tail
        return data

    def _salvage(self, size: int) -> bytes:
        data, rest = bytearray(), self._rest
        for at in range(len(rest)):
            self._rest = rest[at:]
            try:
                data += self._member.decompress(rest[at : at + 1], size - len(data))
            except zlib.error:
                if not data:
                    raise
                break
            if len(data) == size:
                self._rest = self._member.unconsumed_tail + rest[at + 1 :]
                break
        return bytes(data)

    def _begin_member(self) -> bool:
        """Go on with the next member, over zeros that pad the file; False: there is none."""
        self._rest = self._member.unused_data.lstrip(b"\0")
        while not self._rest:
            more = self._packed.read1(_BUFFER)
            if not more:
                return False
            self._rest = more.lstrip(b"\0")
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        return True
