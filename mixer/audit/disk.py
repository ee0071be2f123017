"""The few things the audit store does to a folder, each complete on disk when it returns.

One object, so that a test can make any of them fail or be the last thing a process ever did.
"""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """A local POSIX filesystem."""

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it; each is on disk, and in the folder that holds it."""
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o755, exist_ok=True)
            self.sync_folder(folder.parent)

    def write(self, path: Path, data: bytes | memoryview) -> None:
        """Write a file of its own, in place of one that is there."""
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def append(self, path: Path, offset: int, data: bytes) -> None:
        """Make `data` the end of a file from `offset` on; what was behind that is cut off."""
        with path.open("r+b" if path.exists() else "x+b") as file:
            file.truncate(offset)
            file.seek(offset)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Have the names in a folder on disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
