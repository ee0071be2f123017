"""Loaded first by a Python whose clock libfaketime bends.

libfaketime also bends the monotonic deadline of a sleep, which then is in the past or far away (Python sleeps
by clock_nanosleep with TIMER_ABSTIME); select takes no time of day.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
