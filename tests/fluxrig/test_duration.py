"""Durations: what people write becomes seconds, and what is unclear is refused with what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fluxrig.duration import MAX_S, Seconds, format_about, format_duration, parse_duration

SECONDS = TypeAdapter(Seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("100ms", 0.1), ("1.5s", 1.5), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800)],
)
def test_units(text: str, seconds: float) -> None:
    """Every unit, alone and joined, means its number of seconds."""
    assert SECONDS.validate_python(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-1s", "0s", "1 s", "5min", "1s ", "367d", "\u0661s", "9" * 13 + "s"]
)
def test_refused(text: str) -> None:
    """Whatever is not a positive number with a unit is refused."""
    with pytest.raises(ValidationError):
        SECONDS.validate_python(text)


@pytest.mark.parametrize("value", [5, 0.5, True, None, ["1s"]])
def test_a_bare_number_asks_for_its_unit(value: object) -> None:
    """A number without a unit is never guessed at."""
    with pytest.raises(ValidationError, match="a duration needs its unit"):
        SECONDS.validate_python(value)


def test_the_error_repeats_the_number() -> None:
    """The message can be copied: it holds the number with the units that it may have meant."""
    with pytest.raises(ValidationError, match="write 100ms or 100s"):
        SECONDS.validate_python(100)


@given(st.floats(min_value=0.001, max_value=MAX_S))
def test_format_reads_back(seconds: float) -> None:
    """What is printed reads back as the same duration, to the microsecond."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=2e-6, rel=1e-9)


def test_json_round_trip() -> None:
    """A duration survives being written as JSON."""
    assert SECONDS.validate_json(SECONDS.dump_json(0.25)) == 0.25


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (0.4, "0s"), (59, "59s"), (90, "1m30s"), (3600, "1h"), (86_389, "23h59m"), (90_061, "1d1h")],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, said: str) -> None:
    """Nobody divides 86389 seconds in his head."""
    assert format_about(seconds) == said
