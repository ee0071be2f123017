"""Rotated capture files: a folder is read as one capture, in the order of the first packets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from gears.network_sniffer.capture_file import read_capture
from gears.network_sniffer.packet import CaptureDamaged, CaptureError, Packet

MAX_FILES: Final = 100_000


def natural(path: Path) -> list[tuple[int, str]]:
    """Give what sorts names as people do: tap9 before tap10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def list_captures(folder: Path, log: logging.Logger) -> list[Path]:
    """Give the captures of a folder in the order of their first packets. What is none is left out."""
    try:
        paths = sorted((path for path in folder.iterdir() if path.is_file()), key=natural)[:MAX_FILES]
    except OSError as error:
        raise CaptureError(f"can't read the folder {folder}: {error.strerror or error}") from error
    captures = []
    for path in paths:
        try:
            first = next(read_capture(path), None)
        except CaptureDamaged:
            continue
        except CaptureError as error:
            log.warning("%s", error)
            continue
        if first is not None:
            captures.append((first.ts, natural(path), path))
    return [path for *_, path in sorted(captures)]


class CaptureFiles:
    """Reads a capture, or all of a folder one after another, some packets at a time."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        """Raises CaptureError when there is nothing that can be read."""
        self._paths = iter(list_captures(path, log) if path.is_dir() else [path])
        self._path = path
        self._packets: Iterator[Packet] | None = None

    def read(self, limit: int) -> tuple[list[Packet], list[str]]:
        """Give up to `limit` packets, none at the end, and what was found damaged after them."""
        packets: list[Packet] = []
        while len(packets) < limit:
            if self._packets is None:
                path = next(self._paths, None)
                if path is None:
                    break
                self._path, self._packets = path, read_capture(path)
            try:
                packets.extend(islice(self._packets, limit - len(packets)))
            except CaptureDamaged as damage:
                self._packets = None
                return packets, [f"{self._path.name}: {damage}"]
            if len(packets) < limit:
                self._packets = None
        return packets, []
