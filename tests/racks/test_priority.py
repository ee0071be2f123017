"""A Rack goes before other work where it may, without taking the machine for itself."""

import os
import subprocess
import sys

import pytest

TRY = """
import logging, os, sys, threading, time
from racks import priority
logging.basicConfig(stream=sys.stderr)
priority.MOST_US = 100_000
priority.go_first()
policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
inherited = []
def look(): inherited.append(os.sched_getscheduler(0))
thread = threading.Thread(target=look)
thread.start(); thread.join()
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until and os.sched_getscheduler(0) != os.SCHED_OTHER:
    pass
print(policy, *inherited, os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK)
"""


def tried(spin_s, *before):
    done = subprocess.run(
        [*before, sys.executable, "-c", TRY, str(spin_s)], capture_output=True, text=True, check=True
    )
    return list(map(int, done.stdout.split())), done.stderr


def may_go_real_time():
    look = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    return subprocess.run([sys.executable, "-c", look], check=False, capture_output=True).returncode == 0


linux = pytest.mark.skipif(sys.platform != "linux", reason="sched(7) is Linux's")
permitted = pytest.mark.skipif(
    not hasattr(os, "SCHED_RR") or not may_go_real_time(),
    reason="this process may not take real-time priority (CAP_SYS_NICE)",
)


@linux
@permitted
def test_real_time_for_itself_alone():
    """The Rack's own thread goes by round robin; its threads and children do not."""
    assert tried(0)[0] == [os.SCHED_RR, os.SCHED_OTHER, os.SCHED_RR]


@linux
@permitted
def test_real_time_is_given_up():
    """A Rack that computes without a pause gives up real time, and says so once."""
    found, said = tried(30)
    assert found[-1] == os.SCHED_OTHER
    assert said.count("isolate: process") == 1


@linux
def test_without_the_right():
    """Without the right, the Rack works on as any process, and is silent about it."""
    drop = ("setpriv", "--bounding-set=-sys_nice") if may_go_real_time() else ()
    if drop and subprocess.run([*drop, "true"], check=False, capture_output=True).returncode:
        pytest.skip("there is no setpriv to drop the right with")
    assert tried(0, *drop) == ([os.SCHED_OTHER] * 3, "")
