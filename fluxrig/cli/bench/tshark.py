"""tshark over the same capture, where it is installed: the contender that people know."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

FIELDS: Final = (
    "frame.number",
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.stream",
    "mbtcp.trans_id",
    "mbtcp.unit_id",
    "mbtcp.len",
    "modbus.func_code",
    "modbus.reference_num",
    "modbus.word_cnt",
    "modbus.regval_uint16",
)


def find() -> str | None:
    """Give tshark's path, or None."""
    return shutil.which("tshark")


def seconds(tshark: str, path: Path) -> float:
    """Give how long tshark takes to print the fields of every packet, less the time of its start."""
    return max(1e-9, _time(tshark, path, "-T", "fields") - _time(tshark, path, "-c", "1", "-T", "fields"))


def _time(tshark: str, path: Path, *options: str) -> float:
    fields = [part for field in FIELDS for part in ("-e", field)]
    start = time.perf_counter()
    subprocess.run(
        [tshark, "-n", "-r", str(path), *options, *fields],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - start
