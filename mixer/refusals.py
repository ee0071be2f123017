"""Who was refused and why, in the log: once, however often it is tried again."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

from fluxrig.clock import Clock, SystemClock

QUIET_S: Final = 60.0
MAX_LINES: Final = 100
_REMEMBERED: Final = 1024

_log = logging.getLogger("fluxrig.mixer")


class Refusals:
    """Logs each pair of who and why at the first time, and then at most once in QUIET_S with a count.

    Of different ones at most MAX_LINES are logged in QUIET_S; how many more there were is said later. What
    would not print as one line is replaced: `who` and `why` may come from whoever was refused.
    """

    def __init__(self, what: str, clock: Clock | None = None) -> None:
        self._what = what
        self._clock = clock or SystemClock()
        self._told: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._window_ns, self._lines, self._unsaid = 0, 0, 0
        self.total = 0

    def log(self, who: str, why: str) -> None:
        self.total += 1
        key = (_printable(who, 100), _printable(why, 300))
        now_ns = self._clock.monotonic_ns()
        told_ns, since = self._told.pop(key, (None, 0))
        if told_ns is not None and now_ns - told_ns < QUIET_S * 1e9:
            self._told[key] = (told_ns, since + 1)
            return
        self._told[key] = (now_ns, 0)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        if self._has_room(now_ns):
            again = f" ({since} more times since this was last said)" if since else ""
            _log.warning("refused %s from %s: %s%s", self._what, *key, again)

    def _has_room(self, now_ns: int) -> bool:
        if now_ns - self._window_ns > QUIET_S * 1e9:
            if self._unsaid:
                _log.warning("refused %s %d more times, from too many to name each", self._what, self._unsaid)
            self._window_ns, self._lines, self._unsaid = now_ns, 0, 0
        self._lines += 1
        self._unsaid += self._lines > MAX_LINES
        return self._lines <= MAX_LINES


def _printable(text: str, longest: int) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:longest])
