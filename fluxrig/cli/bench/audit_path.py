"""The whole path with real processes: simulate → uplink → leaf → hub → Parquet, and a ledger at its end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.cli.bench.poll_usage import Usage, usage
from fluxrig.errors import FluxrigError
from fluxrig.identity.join import VARIABLE

_FLUSH_S: Final = 120
_WARM_S: Final = 3.0
"""Left out of the slope of the backlog: processes start, caches fill."""

_RACK: Final = """\
rack: rack-3
uns: acme/lyon/stamping/line-3
snake: {{}}
gears:
  press:
    kind: simulate
    uns: press
    rate: {rate}
    batch: 1000
    journal: {journal}
    tags:
      pressure: {{wave: sine, low: 0.8, high: 6.2, period: 20s}}
      temperature: {{wave: ramp, low: 18.5, high: 64.0, period: 33s}}
      running: {{wave: step, period: 30s}}
      spm: 42
      recipe: blank-4471-deep-drawn-1.25mm-right
wires:
  - press -> uplink
"""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the path: when, how many messages the leaf and the Parquet have, what processes take."""

    at_s: float
    accepted: int
    committed: int
    rack: Usage
    mixer: Usage
    machine: tuple[float, float]
    """CPU seconds that were spent, and that were idle, on all cores since the machine started."""


def measure(folder: Path, seconds: float, rate: str, sync: str) -> dict[str, Any]:
    """Run the path for some seconds; give the figures."""
    environment = dict(os.environ)
    with _mixer(folder, sync, environment) as mixer:
        environment[VARIABLE] = _join_token(folder)
        rack_file = folder / "rack.yaml"
        text = _RACK.format(rate=rate, journal=folder / "journal")
        rack_file.write_text(text, "utf-8")
        with _rack(folder, rack_file, seconds, environment) as rack:
            looks = list(_watch(folder, rack, mixer.pid))
        ended = looks[-1].at_s if looks else 0.0
        _wait_committed(folder, _accepted(folder))
        looks.append(_look(folder, mixer.pid, mixer.pid))
    return {**_rates(looks, ended), **ledger(folder / "data" / "audit", folder / "journal")}


@contextmanager
def _mixer(folder: Path, sync: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    script = "from fluxrig.cli.mixer import main; main()"
    options = ["--data", str(folder / "data"), "--listen", "127.0.0.1:0"]
    options += ["--enrol", "127.0.0.1:0", "--json", "--sync", sync]
    command = [sys.executable, "-c", script, "up", *options, "--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        line = process.stdout.readline()
        if not line:
            raise FluxrigError("the Mixer did not start; see what it said above")
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _join_token(folder: Path) -> str:
    """Have the Mixer make a token that lets in whoever shows it."""
    from mixer.enrolment.client import ask
    from mixer.folder import Folder

    order = {"verb": "token-create", "approve": True, "by": "fluxrig bench"}
    return str(asyncio.run(ask(Folder(folder / "data"), order))["token"])


@contextmanager
def _rack(
    folder: Path, file: Path, seconds: float, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    script = "from fluxrig.cli.main import main; main()"
    options = ["--state", str(folder / "state"), "--for", f"{seconds}s", "--flush", f"{_FLUSH_S}s"]
    options += ["--report", str(folder / "report.json"), "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, "-c", script, "run", str(file), *options], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_FLUSH_S + 30)


def _watch(folder: Path, rack: subprocess.Popen[bytes], mixer_pid: int) -> Iterator[Look]:
    """Look once a second until the Rack has ended; looks before its first message are left out."""
    while rack.poll() is None:
        look = _look(folder, rack.pid, mixer_pid)
        if look.accepted:
            yield look
        time.sleep(1.0)


def _look(folder: Path, rack_pid: int, mixer_pid: int) -> Look:
    at_s = time.monotonic()
    accepted, committed = _accepted(folder), _committed(folder)
    return Look(at_s, accepted, committed, usage(rack_pid), usage(mixer_pid), _machine())


def _machine() -> tuple[float, float]:
    """Read what all cores did (proc(5), the first line of /proc/stat)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    hertz, idle = os.sysconf("SC_CLK_TCK"), ticks[3] + ticks[4]
    return (sum(ticks) - idle) / hertz, idle / hertz


def _accepted(folder: Path) -> int:
    try:
        return int(json.loads((folder / "report.json").read_text("utf-8"))["accepted"])
    except (OSError, ValueError, KeyError):
        return 0


def _committed(folder: Path) -> int:
    from mixer.audit.manifest import NAME, read

    commits = (commit for commit, _ in read(folder / "data" / "audit" / NAME))
    return sum(file.rows for commit in commits for file in commit.files if file.table == "messages")


def _wait_committed(folder: Path, accepted: int) -> None:
    deadline = time.monotonic() + _FLUSH_S
    while _committed(folder) < accepted and time.monotonic() < deadline:
        time.sleep(0.2)


def _rates(looks: list[Look], ended_s: float) -> dict[str, Any]:
    steady = [look for look in looks if looks[0].at_s + _WARM_S <= look.at_s <= ended_s]
    if len(steady) < 3:
        raise FluxrigError("too few messages came through to measure; give --seconds more")
    first, last = steady[0], steady[-1]
    span_s = last.at_s - first.at_s
    return {
        "msgs_per_s": round((last.committed - first.committed) / span_s),
        "accepted_msgs_per_s": round((last.accepted - first.accepted) / span_s),
        "backlog_slope_msgs_per_s": round(
            slope([(look.at_s, look.accepted - look.committed) for look in steady])
        ),
        **_memory(steady),
        "cpu_share": _cpu(first, last, span_s),
    }


def _memory(looks: list[Look]) -> dict[str, Any]:
    """Give the memory of the Mixer and its server: at its most, by process at the end, and how it moves.

    The latter in the second half: in the first one caches fill.
    """
    points = [(look.at_s / 60, sum(look.mixer.rss_bytes.values()) / 2**20) for look in looks]
    by_process = looks[-1].mixer.rss_bytes.items()
    return {
        "mixer_rss_mib": round(max(mib for _, mib in points)),
        "mixer_rss_slope_mib_per_min": round(slope(points[len(points) // 2 :])),
        "mixer_rss_by_process_mib": {name: round(size / 2**20) for name, size in by_process},
    }


def _cpu(first: Look, last: Look, span_s: float) -> dict[str, float]:
    """Give the share of one core by process, of all else on the machine, and what was idle."""
    shares = _shares("rack", first.rack, last.rack, span_s) | _shares(
        "mixer", first.mixer, last.mixer, span_s
    )
    spent, idle = (
        (after - before) / span_s for before, after in zip(first.machine, last.machine, strict=True)
    )
    return shares | {"others": round(spent - sum(shares.values()), 2), "idle": round(idle, 2)}


def _shares(of: str, first: Usage, last: Usage, span_s: float) -> dict[str, float]:
    """Give the share of one core by process."""
    spent = {name: last.cpu_s[name] - first.cpu_s.get(name, 0.0) for name in last.cpu_s}
    return {f"{of}: {name}": round(cpu_s / span_s, 2) for name, cpu_s in spent.items() if cpu_s > 0}


def slope(points: list[tuple[float, float]]) -> float:
    """Give the slope of the line through some points, by least squares."""
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def ledger(audit: Path, journal: Path) -> dict[str, Any]:
    """Hold the rows against what the source knows to be stored: lost, duplicated and out of order."""
    from mixer.audit.query import Limits, query

    expected = 0
    for line in journal.read_text("ascii").splitlines():
        _, first, last = map(int, line.split())
        expected += last - first + 1
    sql = """
        SELECT count(*), count(DISTINCT leaf_seq),
               coalesce(sum((leaf_seq < before)::INT), 0), coalesce(max(leaf_seq), -1) + 1, avg(size)
        FROM (SELECT leaf_seq, lag(leaf_seq) OVER (ORDER BY stream_seq, leaf_seq) AS before,
                     octet_length(cbor) AS size FROM messages)
    """
    with query(audit, sql, Limits(memory_mib=4096)) as reader:
        ((rows, distinct, behind, top, size),) = zip(*reader.read_all().to_pydict().values(), strict=True)
    return {
        "messages": rows,
        "message_bytes": round(size or 0.0, 1),
        "lost": max(0, expected - distinct, top - distinct),
        "duplicated": rows - distinct,
        "out_of_order": int(behind),
    }
