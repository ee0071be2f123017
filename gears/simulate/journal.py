"""The journal: which numbers were settled, written only after they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Settled(NamedTuple):
    """The numbers `first` to `last` of one run, both included."""

    run: int
    first: int
    last: int


class Journal:
    """Appends lines; each is one write, so a kill at any moment leaves at most the last line torn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if _is_torn(path):
            os.write(self._fd, b"\n")

    def add(self, settled: Settled) -> None:
        """Write one line and hand it to the operating system: it outlives the process, not the machine."""
        line = b"%d %d %d\n" % settled
        if os.write(self._fd, line) != len(line):
            raise OSError(f"{self._path}: no space for a whole line")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _is_torn(path: Path) -> bool:
    """Whether the file ends in the middle of a line."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"


def read_journal(path: Path) -> Iterator[Settled]:
    """Give what a journal says, leaving out a line that a kill tore."""
    with path.open("rb") as file:
        for line in file:
            words = line.split()
            if line.endswith(b"\n") and len(words) == 3:
                yield Settled(*map(int, words))
