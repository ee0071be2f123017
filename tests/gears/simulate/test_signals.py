"""The values that simulate makes up."""

from hypothesis import given
from hypothesis import strategies as st

from gears.simulate.config import Config, Wave
from gears.simulate.signals import value_at, values_at

SECOND = 1_000_000_000


@given(
    wave=st.sampled_from(["sine", "ramp", "step"]),
    low=st.floats(-1e6, 1e6),
    span=st.floats(0, 1e6),
    period=st.integers(1, 3600),
    ts=st.integers(0, 2**63),
)
def test_a_wave_stays_between_low_and_high(wave, low, span, period, ts):
    """A wave never leaves its range, beyond rounding."""
    value = value_at(Wave(wave=wave, low=low, high=low + span, period=f"{period}s"), ts)
    assert low - 1e-6 <= value <= low + span + 1e-6


def test_a_wave_repeats_after_its_period():
    """The same time within the period gives the same value."""
    ramp = Wave(wave="ramp", low=0, high=10, period="10s")
    assert [value_at(ramp, second * SECOND) for second in (0, 5, 10, 15)] == [0, 5, 0, 5]


def test_constants_stay_as_they_are():
    """A constant keeps its value and its type."""
    config = Config.model_validate({"tags": {"a": True, "b": 7, "c": 1.5, "d": "text"}})
    assert values_at(config.tags, 0) == {"a": True, "b": 7, "c": 1.5, "d": "text"}
    assert [type(value) for value in values_at(config.tags, 0).values()] == [bool, int, float, str]
