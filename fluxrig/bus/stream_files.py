"""Keep a copy of each stream's own description: without it nats-server passes over what a stream holds.

`meta.inf` and its checksum `meta.sum` are small and written seldom, and nothing can replace them.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

_NAMES: Final = ("meta.inf", "meta.sum")
_COPIES: Final = "streams"


def keep_copies(store_dir: Path) -> None:
    """Copy the descriptions as they are now. A copy that can't be written is only an old one kept."""
    for stream in _streams(store_dir):
        folder = store_dir / _COPIES / stream.name
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in _NAMES:
                if _read(stream / name) != _read(folder / name):
                    shutil.copyfile(stream / name, folder / f"{name}.new")
                    (folder / f"{name}.new").replace(folder / name)


def put_back(store_dir: Path, unknown: Collection[str]) -> list[str]:
    """Put back what is damaged or gone, and give the names of the streams that it was needed for.

    To be called for streams that the server does not know. OSError when the disk refuses.
    """
    mended = []
    for stream in _streams(store_dir):
        copies = {name: _read(store_dir / _COPIES / stream.name / name) for name in _NAMES}
        if stream.name in unknown and all(copies.values()):
            for name, copy in copies.items():
                (stream / name).write_bytes(copy)
            mended.append(stream.name)
    return mended


def drop_index(store_dir: Path, stream: str) -> None:
    """Have the server read all blocks of a stream when it starts next, and cut off what it can't read.

    With its index it sees damage only when it comes to it, and until then stores what is new behind that.
    """
    for path in _streams(store_dir):
        if path.name == stream:
            (path / "msgs" / "index.db").unlink(missing_ok=True)


def _streams(store_dir: Path) -> list[Path]:
    return [path.parent for path in sorted(store_dir.glob("jetstream/*/streams/*/msgs")) if path.is_dir()]


def _read(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""
