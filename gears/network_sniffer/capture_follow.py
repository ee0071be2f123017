"""A capture that is still being written: waits at its end, goes on with its successor."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gears.network_sniffer.capture_file import read_packets
from gears.network_sniffer.capture_folder import natural
from gears.network_sniffer.packet import CaptureDamaged, CaptureError, Packet

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

POLL_S: Final = 0.05
AHEAD: Final = 8192
"""Packets read ahead of what is taken."""
_HEADER: Final = 24
"""A file that is shorter has not begun."""


class FollowedCapture:
    """Reads a file, or the files of a folder, in a thread of its own, and never comes to an end by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun: dict[tuple[int, int], _Growing] = {}
        """The files that were or are read, by device and inode: a name may come again."""
        self._packets: deque[Packet] = deque()
        self._damages: deque[str] = deque(maxlen=64)
        self._stopped = threading.Event()
        self._room = threading.Semaphore(AHEAD)
        self._thread = threading.Thread(target=self._run, name=f"follow {path.name}", daemon=True)
        self._thread.start()

    def read(self, limit: int) -> tuple[list[Packet], list[str]]:
        """Give the packets that are there, at most `limit`, and what was found damaged. Does not wait."""
        packets = [self._packets.popleft() for _ in range(min(limit, len(self._packets)))]
        if packets:
            self._room.release(len(packets))
        return packets, [self._damages.popleft() for _ in range(len(self._damages))]

    def close(self) -> None:
        self._stopped.set()
        self._room.release()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            path = self._next()
            if path is None:
                self._stopped.wait(POLL_S)
                continue
            try:
                self._read(path)
            except (CaptureDamaged, CaptureError, OSError) as error:
                if not self._stopped.is_set():
                    self._damages.append(f"{path.name}: {error}")

    def _read(self, path: Path) -> None:
        with path.open("rb", buffering=0) as raw, _Growing(raw, self._is_over, self._stopped) as growing:
            identity = _identity(os.fstat(raw.fileno()))
            self._begun[identity] = growing
            try:
                for packet in read_packets(io.BufferedReader(growing), str(path)):
                    self._room.acquire()
                    if self._stopped.is_set():
                        return
                    self._packets.append(packet)
            finally:
                if os.fstat(raw.fileno()).st_size < growing.position:
                    del self._begun[identity]

    def _is_over(self) -> bool:
        """Whether the file at hand has a successor: nothing more will be written to it."""
        return self._next() is not None

    def _next(self) -> Path | None:
        """Give the first file that has begun, and was not read or has begun anew since."""
        found = dict(self._look())
        for identity, growing in list(self._begun.items()):
            if growing.closed and identity not in found:
                del self._begun[identity]  # the system may give its inode to another file
        for identity, (path, size) in found.items():
            begun = self._begun.get(identity)
            if size >= _HEADER and (begun is None or size < begun.position):
                return path
        return None

    def _look(self) -> Iterator[tuple[tuple[int, int], tuple[Path, int]]]:
        """Give the files that are there by identity: path and size, in the order of their names."""
        try:
            paths = [self._path] if not self._path.is_dir() else sorted(self._path.iterdir(), key=natural)
        except OSError:
            return
        for path in paths:
            with suppress(OSError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    yield _identity(status), (path, status.st_size)


class _Growing(io.RawIOBase):
    """A file whose end is the end only when there is a successor."""

    def __init__(self, raw: io.FileIO, is_over: Callable[[], bool], stopped: threading.Event) -> None:
        self.position = 0
        """Bytes read. A file that is shorter was cut, and has begun anew."""
        self._raw = raw
        self._is_over = is_over
        self._stopped = stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Give what is there, at least one byte unless it is over."""
        size = self._raw.readinto(buffer)
        while not size and not self._stopped.is_set():
            over = self._is_over()
            size = self._raw.readinto(buffer)  # what was written before its successor began
            if size or over:
                break
            self._stopped.wait(POLL_S)
        self.position += size or 0
        return size or 0


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
