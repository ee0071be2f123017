"""The values of a simulated tag at a point in time. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gears.simulate.config import Signal, Wave


def value_at(signal: Signal, ts: int) -> bool | int | float | str:
    """Give a signal's value at `ts`, ns since the Unix epoch."""
    return _wave_at(signal, ts) if isinstance(signal, Wave) else signal


def _wave_at(wave: Wave, ts: int) -> float:
    period_ns = max(1, round(wave.period * 1e9))
    turn = ts % period_ns / period_ns
    span = wave.high - wave.low
    if wave.wave == "step":
        return wave.high if turn >= 0.5 else wave.low
    if wave.wave == "ramp":
        return wave.low + span * turn
    return wave.low + span * (1 + math.sin(math.tau * turn)) / 2


def values_at(signals: Mapping[str, Signal], ts: int) -> dict[str, Any]:
    """Give the values of all signals at `ts`."""
    return {name: value_at(signal, ts) for name, signal in signals.items()}
