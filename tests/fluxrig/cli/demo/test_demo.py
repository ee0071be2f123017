"""`fluxrig demo` as a user runs it: real processes from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxrig.cli.demo.capture import may_capture
from fluxrig.cli.demo.children import console_script

ENDS_WITHIN_S = 90.0


def start(folder: Path, *options: object) -> subprocess.Popen[str]:
    """Start a demo; what it starts is known by a variable that all its processes inherit."""
    return subprocess.Popen(
        console_script("fluxrig", "demo", *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FLUXRIG_TEST_MARK": str(folder), "TMPDIR": str(folder)},
    )


def processes_of(folder: Path) -> Iterator[int]:
    """Give every process that has the mark of this demo in its environment."""
    mark = f"FLUXRIG_TEST_MARK={folder}".encode()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)
        except OSError:
            continue  # it has just ended, or is not ours


def wait_until_none(folder: Path) -> None:
    deadline_s = time.monotonic() + 10
    while left := list(processes_of(folder)):
        assert time.monotonic() < deadline_s, f"processes {left} are left"
        time.sleep(0.05)


def wait_for_processes(folder: Path, count: int) -> None:
    deadline_s = time.monotonic() + ENDS_WITHIN_S
    while len(list(processes_of(folder))) < count:
        assert time.monotonic() < deadline_s, "the demo did not start its processes"
        time.sleep(0.05)


def check(result: dict[str, Any], folder: Path) -> None:
    assert (result["lost"], result["duplicated"], result["out_of_order"]) == (0, 0, 0)
    assert result["accepted"] == result["stored"] > 0
    assert result["polled_tags"] > 0
    assert result["sniffed_transactions"] > 0
    assert all(Path(file).is_file() for file in result["files"])
    assert result["folder"] == str(folder)
    hub_log = (folder / "mixer" / "hub" / "server.log").read_text()
    assert hub_log.count("Starting nats-server") == 2
    assert hub_log.count("Server Exiting") == 1, "the first hub was to be killed, not stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_the_ledger_balances_over_an_outage(tmp_path: Path) -> None:
    """What the Rack accepted stands in Parquet once and in order, though the hub was killed in the middle."""
    folder = tmp_path / "kept"
    with start(tmp_path, "--for", "4s", "--json", "--keep", folder) as demo:
        out, err = demo.communicate(timeout=ENDS_WITHIN_S)
    assert demo.returncode == 0, err
    result = json.loads(out)
    assert result["capture"] == ("live" if may_capture() else "replay")
    check(result, folder)
    wait_until_none(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_replay_balances_as_well_and_prints_plain_lines(tmp_path: Path) -> None:
    """Without the right to capture, and without a terminal, the demo shows the same path."""
    with start(tmp_path, "--for", "4s", "--replay") as demo:
        out, err = demo.communicate(timeout=ENDS_WITHIN_S)
    assert demo.returncode == 0, err + out
    assert "\x1b" not in out
    for shown in ("replay", "kill -9", "polled", "accepted by the Rack", "FROM samples", "What to try next"):
        assert shown in out
    [folder] = tmp_path.glob("fluxrig-demo-*")
    assert f"rm -r {folder}" in out, "where the files are must be said"
    wait_until_none(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_no_process_is_left_behind(number: int, code: int, tmp_path: Path) -> None:
    """Ctrl-C, a request to end, kill -9: plant, station, Mixer, Rack and both servers go with the demo."""
    with start(tmp_path, "--for", "60s", "--json") as demo:
        wait_for_processes(tmp_path, 7)
        demo.send_signal(number)
        _, err = demo.communicate(timeout=ENDS_WITHIN_S)
    assert demo.returncode == code
    assert "Traceback" not in err
    wait_until_none(tmp_path)
    left = list(tmp_path.glob("fluxrig-demo-*"))
    assert not left or number == signal.SIGKILL, "a demo that was ended leaves no files of its own"


@pytest.mark.parametrize("options", [("--for", "1s"), ("--for", "2h"), ("--for", "soon")])
def test_a_wrong_duration_is_refused(options: tuple[str, str], tmp_path: Path) -> None:
    """A duration that is none, or out of bounds, is one clear error, and nothing is started."""
    with start(tmp_path, *options) as demo:
        _, err = demo.communicate(timeout=ENDS_WITHIN_S)
    assert demo.returncode == 2
    assert "--for" in err
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    """The demo does not write among files that somebody has."""
    (tmp_path / "thesis.txt").write_text("mine")
    with start(tmp_path, "--for", "4s", "--keep", tmp_path) as demo:
        _, err = demo.communicate(timeout=ENDS_WITHIN_S)
    assert demo.returncode == 2
    assert "not empty" in " ".join(err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
