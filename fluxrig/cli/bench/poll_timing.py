"""How well a schedule was kept, judged from when the device was asked. Pure.

The device's own record is what counts: what a poller says of its own schedule, it says with the clock that
made it late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeAlias

Poll: TypeAlias = tuple[int, int]
"""When a poll's first and last request reached the device, ns."""

PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


@dataclass(slots=True)
class Timing:
    """`ticks` that were due, `overruns` among them, and how far each poll began from its tick, ns."""

    ticks: int = 0
    overruns: int = 0
    jitter_ns: list[int] = field(default_factory=list)

    @property
    def overrun_ratio(self) -> float:
        return self.overruns / self.ticks if self.ticks else 0.0

    def jitter_ms(self) -> dict[str, float]:
        """Give the percentiles, by the nearest rank."""
        ranked = sorted(self.jitter_ns)
        return {name: round(_rank(ranked, share) / 1e6, 4) for name, share in PERCENTILES.items()}

    @classmethod
    def of(cls, polls: Sequence[Poll], period_ns: int) -> Timing:
        """Lay an even grid of ticks over the polls of one device, and hold each poll against its tick.

        The grid's place is the one that halves the polls into early and late, its period the one asked for:
        a schedule that drifts shows as jitter. A tick is overrun when its poll outlasts the next tick, or
        when it has no poll.
        """
        if not polls:
            return cls()
        first = polls[0][0]
        origin = first + round(median(_from_tick(began - first, period_ns) for began, _ in polls))
        numbers = _ticks_of([began - origin for began, _ in polls], period_ns)
        ticks_ns = [origin + number * period_ns for number in numbers]
        jitter = [abs(began - tick_ns) for tick_ns, (began, _) in zip(ticks_ns, polls, strict=True)]
        outlasted = sum(
            ended >= tick_ns + period_ns for tick_ns, (_, ended) in zip(ticks_ns, polls, strict=True)
        )
        ticks = numbers[-1] - numbers[0] + 1
        return cls(ticks, outlasted + ticks - len(polls), jitter)

    @classmethod
    def together(cls, timings: Iterable[Timing]) -> Timing:
        """Add up the timings of several devices."""
        whole = cls()
        for timing in timings:
            whole.ticks += timing.ticks
            whole.overruns += timing.overruns
            whole.jitter_ns += timing.jitter_ns
        return whole


def _ticks_of(elapsed_ns: Sequence[int], period_ns: int) -> list[int]:
    """Give which tick each poll is for: the last one before it, but for a hair, that no later poll is for."""
    early_ns = period_ns // 4
    numbers: list[int] = []
    for each in reversed(elapsed_ns):
        number = (each + early_ns) // period_ns
        numbers.append(min(number, numbers[-1] - 1) if numbers else number)
    return numbers[::-1]


def _from_tick(elapsed_ns: int, period_ns: int) -> int:
    """Give how far a time is from the nearest multiple of the period, early is negative."""
    return (elapsed_ns + period_ns // 2) % period_ns - period_ns // 2


def _rank(ranked: Sequence[int], share: float) -> int:
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))] if ranked else 0
