"""Thresholds as people write them, and what they decide."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.deadband.threshold import Threshold, moved, parse_threshold


def repr_short(value):
    return repr(value)[:12]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3)
)
THRESHOLDS = st.builds(Threshold, st.floats(0, 1e9), st.booleans())


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        (0.5, Threshold(0.5)),
        (2, Threshold(2.0)),
        ("5%", Threshold(5, True)),
        (" 0.25 % ", Threshold(0.25, True)),
    ],
)
def test_numbers_and_percent_are_read(text, threshold):
    """`0.5` is absolute, `5%` is relative."""
    assert parse_threshold(text) == threshold


@pytest.mark.parametrize(
    "text", ["5", "five", "-5%", "%", -1, True, None, math.nan, math.inf, [], 10**400], ids=repr_short
)
def test_anything_else_is_refused_with_the_mend(text):
    """The error shows both ways to write a threshold."""
    with pytest.raises(ValueError, match=r"0\.5, or percent .* 5%"):
        parse_threshold(text)


@given(last=VALUES, value=VALUES, threshold=THRESHOLDS)
def test_any_two_values_can_be_compared(last, value, threshold):
    """No pair of values, however odd or large, raises."""
    assert moved(last, value, threshold) in (True, False)


@given(last=VALUES, value=VALUES, threshold=THRESHOLDS)
def test_what_is_held_back_is_within_the_threshold(last, value, threshold):
    """Held back means: the same type, and equal or numbers no farther apart than the threshold."""
    if moved(last, value, threshold):
        return
    assert type(last) is type(value)
    if isinstance(value, float) and math.isnan(value):
        assert math.isnan(last)
    elif last != value:
        assert not isinstance(value, bool | str | bytes)
        limit = abs(last) * threshold.width / 100 if threshold.percent else threshold.width
        assert abs(value - last) <= limit


@pytest.mark.parametrize(
    ("last", "value"),
    [(1, 1.0), (None, 0), (0, False), (math.inf, 1.0), (1.0, math.nan), (math.inf, -math.inf), ("a", "b")],
)
def test_a_change_of_kind_is_never_held_back(last, value):
    """Types, null, NaN, the infinities and texts pass whatever the threshold."""
    for threshold in (Threshold(1e12), Threshold(1e12, percent=True)):
        assert moved(last, value, threshold)


def test_percent_is_of_the_value_last_reported():
    """5 % of 200 is 10; of 0 it is 0, so any change from 0 is reported."""
    threshold = Threshold(5, percent=True)
    assert not moved(200.0, 210.0, threshold)
    assert moved(200.0, 210.1, threshold)
    assert moved(0.0, 1e-9, threshold)
