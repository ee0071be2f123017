"""The schedule: no drift, no burst."""

from hypothesis import given
from hypothesis import strategies as st

from gears.io_modbus.schedule import Schedule


@given(st.integers(1, 1000), st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_ticks_stay_where_they_are(period, durations):
    """Whatever polls take, a poll that was waited for begins at a multiple of the period."""
    schedule, now = Schedule(period, 0), 0
    for duration in durations:
        now += duration
        wait = schedule.wait_ns(now)
        assert 0 <= wait <= period
        now += wait
        if wait:
            assert now % period == 0


@given(st.integers(1, 1000), st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_there_is_no_burst_after_a_stall(period, durations):
    """Over any time there are never more polls than ticks, but for the one that begins late."""
    schedule, now = Schedule(period, 0), 0
    for polls, duration in enumerate(durations, start=1):
        now += duration
        now += schedule.wait_ns(now)
        assert polls + schedule.skipped <= now // period + 1


def test_overruns_and_skipped_ticks_are_counted():
    """A poll of 3.5 periods is one overrun, and 2 ticks that had no poll; the next begins at once."""
    schedule = Schedule(100, 0)
    assert schedule.wait_ns(350) == 0
    assert (schedule.overruns, schedule.skipped) == (1, 2)
    assert schedule.wait_ns(360) == 40
    assert (schedule.overruns, schedule.skipped) == (1, 2)


def test_a_poll_on_time_is_no_overrun():
    """Up to the very tick it is in time."""
    schedule = Schedule(100, 0)
    assert schedule.wait_ns(100) == 0
    assert schedule.wait_ns(130) == 70
    assert schedule.overruns == 0


@given(st.integers(1, 1000), st.integers(0, 100_000))
def test_after_a_time_away_polls_begin_at_ticks_again(period, away):
    """The next poll waits for a tick, and what passed meanwhile is neither made up for nor counted."""
    schedule = Schedule(period, 0)
    wait = schedule.rejoin_ns(away)
    assert 0 < wait <= period
    assert (away + wait) % period == 0
    assert schedule.overruns == schedule.skipped == 0
