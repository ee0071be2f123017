"""A capture that is still being written: waits at its end, goes on with its successor."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable
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
        self._done: set[tuple[int, int]] = set()
        """The files that were read, by device and inode: a name may come again."""
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
        with path.open("rb", buffering=0) as raw:
            identity = _identity(path)
            if identity is not None:
                self._done.add(identity)
            growing = _Growing(raw, self._is_over, self._stopped)
            for packet in read_packets(io.BufferedReader(growing), str(path)):
                self._room.acquire()
                if self._stopped.is_set():
                    return
                self._packets.append(packet)

    def _is_over(self) -> bool:
        """Whether the file at hand has a successor: nothing more will be written to it."""
        return self._next() is not None

    def _next(self) -> Path | None:
        """Give the first file that was not read and has begun."""
        try:
            paths = [self._path] if not self._path.is_dir() else sorted(self._path.iterdir(), key=natural)
        except OSError:
            return None
        for path in paths:
            identity = _identity(path)
            if identity is not None and identity not in self._done:
                return path
        return None


class _Growing(io.RawIOBase):
    """A file whose end is the end only when there is a successor."""

    def __init__(self, raw: io.FileIO, is_over: Callable[[], bool], stopped: threading.Event) -> None:
        self._raw = raw
        self._is_over = is_over
        self._stopped = stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Give what is there, at least one byte unless it is over."""
        while True:
            over = self._is_over()
            size = self._raw.readinto(buffer)
            if size or over or self._stopped.is_set():
                return size or 0
            self._stopped.wait(POLL_S)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if path.is_file() and status.st_size >= _HEADER else None
