"""Processes of the demo are watched, stopped in order, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluxrig.cli.demo.children import Child
from fluxrig.errors import FluxrigError

READY = "print('{}', flush=True); time.sleep(60)"
SLEEP = [sys.executable, "-c", f"import time; {READY}"]
POLITE = [sys.executable, "-c", f"import signal as s, time; s.signal(15, lambda *_: exit(0)); {READY}"]
STUBBORN = [sys.executable, "-c", f"import signal, time; signal.signal(15, signal.SIG_IGN); {READY}"]
NESTED = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline_s = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < deadline_s, f"process {pid} is still there"
        time.sleep(0.02)


def test_leaving_the_block_ends_the_process(tmp_path: Path) -> None:
    """A child is gone when its block is left, also by an error."""
    child = Child("sleeper", SLEEP, tmp_path)
    with pytest.raises(ZeroDivisionError), child:
        raise ZeroDivisionError
    assert not is_running(child.pid)


def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """Kill -9 of the parent ends the child: no `finally` is needed for it."""
    parent = (
        "import sys, time; from pathlib import Path; from fluxrig.cli.demo.children import Child\n"
        f"print(Child('sleeper', {SLEEP!r}, Path({str(tmp_path)!r})).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert is_running(pid)
        process.kill()
    wait_until_gone(pid)


def test_waiting_for_a_process_that_failed_says_why(tmp_path: Path) -> None:
    """The error names the process, its exit code and the last line of its log."""
    command = [sys.executable, "-c", "import sys; sys.exit('no licence for the press')"]
    with Child("press", command, tmp_path) as child, pytest.raises(FluxrigError) as caught:
        child.wait_for("line", child.last_line)
    assert "press ended with 1" in str(caught.value)
    assert "no licence for the press" in str(caught.value)


def test_lines_are_read_whole(tmp_path: Path) -> None:
    """The first and the last line are told apart, and a line that is half written is not read."""
    script = "import time; print('[1]'); print('[2]'); print('[3', end='', flush=True); time.sleep(60)"
    with Child("writer", [sys.executable, "-c", script], tmp_path) as child:
        assert child.wait_for("line", child.last_line) == [2]
        assert child.first_line() == [1]


def test_waiting_has_an_end(tmp_path: Path) -> None:
    """What never comes is an error that says what was waited for."""
    with Child("sleeper", SLEEP, tmp_path) as child, pytest.raises(FluxrigError, match="no miracle within"):
        child.wait_for("miracle", lambda: None, timeout_s=0.1)


def test_stop_asks_and_waits(tmp_path: Path) -> None:
    """SIGTERM ends a child that listens to it and leaves with 0."""
    with Child("polite", POLITE, tmp_path) as child:
        child.wait_for("line", child.last_line)
        child.stop()
        assert not is_running(child.pid)


def test_stop_tells_of_a_child_that_left_with_an_error(tmp_path: Path) -> None:
    """Any end but 0 is an error: what was asked to drain did not say that it has."""
    with Child("sleeper", SLEEP, tmp_path) as child:
        child.wait_for("line", child.last_line)
        with pytest.raises(FluxrigError, match=r"sleeper stopped with -15"):
            child.stop()


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed, and the error says that it did not stop."""
    with Child("stubborn", STUBBORN, tmp_path) as child:
        child.wait_for("line", child.last_line)
        with pytest.raises(FluxrigError, match=r"stubborn did not stop within 0\.2 s"):
            child.stop(timeout_s=0.2)
        assert not is_running(child.pid)


def test_killing_takes_the_whole_group(tmp_path: Path) -> None:
    """What a child started goes with it."""
    with Child("nested", [sys.executable, "-c", NESTED], tmp_path) as child:
        pid = int(child.wait_for("pid", child.last_line))
        child.kill()
        child.kill()
    wait_until_gone(pid)


def test_the_terminal_does_not_interrupt_a_child(tmp_path: Path) -> None:
    """Ctrl-C reaches the demo alone, as each child has a session of its own."""
    with Child("sleeper", SLEEP, tmp_path) as child:
        child.wait_for("line", child.last_line)
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
