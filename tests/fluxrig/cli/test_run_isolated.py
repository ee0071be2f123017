"""`isolate: process` from the Rack file to real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxrig.catalog import installed
from fluxrig.errors import ConfigError
from fluxrig.rackfile import parse
from tests.processes import FLUXRIG, Running, alive, read_json, running, until

RACK = """
rack: line
uns: acme/lyon
gears:
  counter: {kind: simulate, rate: 2000, batch: 20, journal: JOURNAL, isolate: process}
  steady: {kind: deadband, isolate: process}
wires:
  - counter -> steady -> uplink
"""


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Running]:
    file = tmp_path / "rack.yaml"
    file.write_text(RACK.replace("JOURNAL", str(tmp_path / "journal")))
    places = ("--state", str(tmp_path / "state"), "--report", str(tmp_path / "report"))
    with running((*FLUXRIG, "run", str(file), *places, "--json"), tmp_path / "log") as process:
        until(lambda: accepted(tmp_path) > 500, "the first messages")
        yield process


def accepted(folder: Path) -> int:
    return int(read_json(folder / "report").get("accepted", 0))


def worker(rack: Running, title: str) -> int | None:
    """Give the process id of the Rack's worker for a gear."""
    children = Path(f"/proc/{rack.pid}/task/{rack.pid}/children").read_text().split()
    for child in map(int, children):
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if title.encode() in command:
            return child
    return None


def journaled(folder: Path) -> int:
    lines = (folder / "journal").read_text().splitlines()
    return sum(int(last) - int(first) + 1 for _, first, last in map(str.split, lines))


def test_ctrl_c_drains_and_ends_the_workers(rack: Running, tmp_path: Path) -> None:
    """SIGTERM to Rack and workers alike, as a service manager sends it: the Rack drains, nothing is left."""
    pids = [worker(rack, "line/counter"), worker(rack, "line/steady")]
    report = read_json(tmp_path / "report")
    assert [report["gears"][name]["worker"] for name in ("counter", "steady", "uplink")] == [*pids, None]
    for pid in pids:
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
    code, _ = rack.stop(signal.SIGTERM)
    report = read_json(tmp_path / "report")
    assert code == 0, rack.said()
    assert (report["unsettled"], report["dead_letters"]) == (0, 0)
    assert all(gear["errors"] == 0 for gear in report["gears"].values()), rack.said()
    assert report["accepted"] == report["gears"]["counter"]["out"] >= journaled(tmp_path)
    assert not [pid for pid in pids if pid and alive(pid)]
    assert "Traceback" not in rack.said()


@pytest.mark.parametrize("gear", ["counter", "steady"])
def test_a_worker_that_is_killed_comes_back_alone(rack: Running, tmp_path: Path, gear: str) -> None:
    """kill -9 of one worker: another takes its place, messages go on, the other gear's worker is the same."""
    other = {"counter": "steady", "steady": "counter"}[gear]
    before, neighbour = worker(rack, f"line/{gear}"), worker(rack, f"line/{other}")
    assert before
    os.kill(before, signal.SIGKILL)
    until(lambda: worker(rack, f"line/{gear}") not in (None, before), "another worker")
    seen = accepted(tmp_path)
    until(lambda: accepted(tmp_path) > seen + 200, "more messages")
    assert worker(rack, f"line/{other}") == neighbour
    code, _ = rack.stop()
    report = read_json(tmp_path / "report")
    assert code == 0, rack.said()
    assert report["gears"][gear]["errors"] == 1
    assert report["gears"][other]["errors"] == 0
    assert report["accepted"] >= journaled(tmp_path)
    assert "was killed by SIGKILL" in rack.said()


def test_a_rack_that_is_killed_takes_its_workers_with_it(rack: Running) -> None:
    """After kill -9 of the Rack no worker is left behind, not even one that is held up."""
    pids = [pid for pid in (worker(rack, "line/counter"), worker(rack, "line/steady")) if pid]
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGSTOP)
    rack.kill()
    until(lambda: not any(map(alive, pids)), "the end of the workers")


@pytest.mark.parametrize("word", ["thread", "true", "Process"])
def test_check_knows_the_key(word: str) -> None:
    """Only `none` and `process` are taken; anything else is a fault at its place that says what to write."""
    text = RACK.replace("isolate: process}\nwires", f"isolate: {word}}}\nwires").replace("JOURNAL", "j")
    with pytest.raises(ConfigError) as caught:
        parse(text, installed())
    (fault,) = caught.value.faults
    assert (fault.line, fault.column) == (6, 37)
    assert "'none' or 'process'" in fault.message


def test_the_key_reaches_the_engine() -> None:
    """Absent means none."""
    spec = parse(RACK.replace("JOURNAL", "j").replace("deadband, isolate: process", "deadband"), installed())
    assert [gear.isolate for gear in spec.gears.values()] == ["process", "none"]
