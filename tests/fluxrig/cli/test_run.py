"""`fluxrig run` starts, drains and stops as an operator expects, on real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import FLUXRIG, Running, alive, read_json, running, until

ENDLESS = """
rack: line
uns: acme/lyon
gears:
  counter: {kind: simulate, rate: 2000, batch: 20, journal: JOURNAL}
wires:
  - counter -> uplink
"""


@pytest.fixture
def rack_file(tmp_path: Path) -> Path:
    file = tmp_path / "rack.yaml"
    file.write_text(ENDLESS.replace("JOURNAL", str(tmp_path / "journal")))
    return file


def command(rack_file: Path, *options: str) -> tuple[str, ...]:
    folder = rack_file.parent
    places = ("--state", str(folder / "state"), "--report", str(folder / "report"))
    return (*FLUXRIG, "run", str(rack_file), *places, *options)


@pytest.fixture
def rack(rack_file: Path) -> Iterator[Running]:
    with running(command(rack_file, "--json"), rack_file.parent / "log") as process:
        until(lambda: read_json(rack_file.parent / "report").get("accepted", 0) > 500, "the first messages")
        yield process


def journaled(folder: Path) -> int:
    lines = (folder / "journal").read_text().splitlines()
    return sum(int(last) - int(first) + 1 for _, first, last in map(str.split, lines))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains(rack: Running, tmp_path: Path, number: int) -> None:
    """SIGTERM and Ctrl-C alike end in order: exit 0, nothing unsettled, leaf gone, counts that agree."""
    leaf = rack.child()
    code, out = rack.stop(number)
    report = json.loads(out)
    assert code == 0, rack.said()
    assert report["unsettled"] == 0
    assert report["accepted"] == report["last_seq"] - report["first_seq"] + 1 >= journaled(tmp_path)
    assert report["accepted"] == report["gears"]["counter"]["out"]
    assert report == read_json(tmp_path / "report")
    assert leaf is not None
    assert not alive(leaf)
    assert "Traceback" not in rack.said()


def test_the_second_signal_stops_at_once(tmp_path: Path, rack_file: Path) -> None:
    """A Rack that can't drain, because its leaf is held up, ends at the second Ctrl-C, with exit code 130."""
    with running(command(rack_file, "--drain", "1h"), tmp_path / "log") as rack:
        until(lambda: read_json(tmp_path / "report").get("accepted", 0) > 500, "the first messages")
        leaf = until(rack.child, "the leaf")
        os.kill(leaf, signal.SIGSTOP)
        rack.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            rack.process.wait(1.0)
        code, _ = rack.stop(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in rack.said()
    until(lambda: not alive(leaf), "the end of the leaf")


def test_a_rack_that_is_killed_takes_its_leaf_with_it(rack: Running) -> None:
    """After kill -9 of the Rack no nats-server is left behind."""
    leaf = until(rack.child, "the leaf")
    rack.kill()
    until(lambda: not alive(leaf), "the end of the leaf")


def test_numbers_go_on_after_a_restart(rack: Running, rack_file: Path) -> None:
    """A Rack that was killed starts again on the same store and numbers on, without a gap."""
    rack.kill()
    before = read_json(rack_file.parent / "report")
    (rack_file.parent / "report").unlink()
    with running(command(rack_file, "--json"), rack_file.parent / "log2") as again:
        until(lambda: read_json(rack_file.parent / "report").get("accepted"), "a message after the restart")
        code, out = again.stop()
    assert code == 0, again.said()
    report = json.loads(out)
    assert report["leaf"] == before["leaf"]
    assert report["first_seq"] > before["last_seq"]


def test_a_second_rack_on_the_same_store_is_refused(rack: Running, rack_file: Path) -> None:
    """Two Racks can't share a store: the second says which process holds it, in one line, and exits 1."""
    with running(command(rack_file), rack_file.parent / "log2") as second:
        code, _ = second.wait()
    assert code == 1
    (line,) = [line for line in second.said().splitlines() if line.startswith("error:")]
    assert "in use by process" in line
    assert "Traceback" not in second.said()


def test_a_bad_file_starts_nothing(tmp_path: Path) -> None:
    """A Rack file with faults exits 2 with all of them, and makes no store."""
    file = tmp_path / "rack.yaml"
    file.write_text(
        "rack: line\nuns: acme\ngears:\n  a: {kind: simulat}\n  b: {kind: stdout, x: 1}\nwires: [a -> c]\n"
    )
    with running(command(file), tmp_path / "log") as rack:
        code, _ = rack.wait()
    assert code == 2
    assert "simulate" in rack.said()
    assert len(rack.said().splitlines()) >= 3
    assert not (tmp_path / "state").exists()


def test_a_rack_whose_gear_fails_for_good_exits_1(tmp_path: Path) -> None:
    """The reason of a gear that stopped for good is told, and the exit code says so."""
    file = tmp_path / "rack.yaml"
    file.write_text(ENDLESS.replace("JOURNAL", str(tmp_path / "no" / "such" / "folder" / "journal")))
    with running(command(file, "--for", "20s"), tmp_path / "log") as rack:
        code, _ = rack.wait()
    assert code == 1
    assert "counter" in rack.said()
    assert "journal" in rack.said()
