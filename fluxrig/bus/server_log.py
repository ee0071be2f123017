"""Read what nats-server says when it can't go on, and say it in words that tell what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 16_384
_NEWS_BYTES: Final = 256 << 10
_TROUBLE = re.compile(r"\[(?:FTL|ERR)\] (.*)")

_WRITE_FAILED = re.compile(r"critical write error|failed to store a msg", re.I)

_ADVICE: Final = (
    (re.compile(r"address already in use", re.I), "stop what uses the port, or choose another"),
    (re.compile(r"no space left on device|disk quota exceeded|file too large", re.I), "free some disk space"),
    (re.compile(r"permission denied|read-only file system|not writable", re.I), "make the store writable"),
    (
        re.compile(r"insufficient storage|insufficient resources|no suitable peers", re.I),
        "free some disk space",
    ),
)


def tail(path: Path, start: int = 0) -> str:
    """Give the end of a log file, nothing before byte `start` of it, or "" when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start if start <= size else 0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


class Follower:
    """Gives what is new in a log file, which may be rotated. Of a flood the newest lines alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._part = b""

    def lines(self) -> list[str]:
        """Give the lines that were ended since the last call."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                start = self._at if self._at <= size else 0
                if size - start > _NEWS_BYTES:
                    start, self._part = size - _NEWS_BYTES, b""
                file.seek(start)
                *whole, self._part = (self._part + file.read(_NEWS_BYTES)).split(b"\n")
                self._at = file.tell()
        except OSError:
            return []
        return [line.decode(errors="replace") for line in whole]


def write_failed(text: str) -> bool:
    """Tell whether JetStream says that it could not write a message to its files."""
    return _WRITE_FAILED.search(text) is not None


def explain(text: str) -> str:
    """Give the last error in a log as one line with advice, or "" when the log holds none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [match[1] for line in lines if (match := _TROUBLE.search(line))]
    last = errors[-1] if errors else next((line for line in reversed(lines) if "nats-server:" in line), "")
    if not last:
        return ""
    advice = next((words for pattern, words in _ADVICE if pattern.search(last)), "")
    return f"{last}; {advice}" if advice else last
