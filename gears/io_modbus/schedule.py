"""When to poll: at a fixed rate that does not drift. Pure."""

from __future__ import annotations


class Schedule:
    """Ticks at start, start + period, start + 2 periods …, whatever a poll takes.

    A poll that outlasts the next tick is an overrun. The next poll then begins at once, and ticks that passed
    whole meanwhile are skipped: after a stall there is no burst, and the ticks stay where they were.
    """

    def __init__(self, period_ns: int, start_ns: int) -> None:
        self.overruns = 0
        """Polls that outlasted the next tick."""
        self.skipped = 0
        """Ticks that had no poll."""
        self.tick_ns = start_ns
        """When the present poll should have begun."""
        self._period_ns = period_ns

    def wait_ns(self, now_ns: int) -> int:
        """Go on to the next tick after a poll that ended at `now_ns`, and give how long to wait for it."""
        self.tick_ns += self._period_ns
        late_ns = now_ns - self.tick_ns
        if late_ns <= 0:
            return -late_ns
        self.overruns += 1
        missed = late_ns // self._period_ns
        self.skipped += missed
        self.tick_ns += missed * self._period_ns
        return 0

    def rejoin_ns(self, now_ns: int) -> int:
        """Go on after a time without polls, and give how long to wait for the next tick."""
        missed = max(0, (now_ns - self.tick_ns) // self._period_ns)
        self.tick_ns += (missed + 1) * self._period_ns
        return self.tick_ns - now_ns
