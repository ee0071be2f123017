"""What a process and all that it started take of the machine, from /proc (proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since each process began, and resident memory now, by the process's name."""

    cpu_s: dict[str, float]
    rss_bytes: dict[str, int]


def usage(root: int) -> Usage:
    """Look at process `root` and its descendants. One that ends while we look is left out."""
    cpu_s: dict[str, float] = {}
    rss: dict[str, int] = {}
    for pid in (root, *_descendants(root)):
        with suppress(OSError):
            name, fields = _stat(pid)
            cpu_s[name] = cpu_s.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
            rss[name] = rss.get(name, 0) + int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(cpu_s, rss)


def _stat(pid: int) -> tuple[str, list[str]]:
    """Give a process's name, and the fields of its stat from `state` on."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    head, _, rest = text.rpartition(")")
    return head.partition("(")[2], rest.split()


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1][1]), []).append(int(entry.name))
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    return found
