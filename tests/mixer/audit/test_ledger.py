"""The ledger explains each number that has no row, or calls it missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mixer.audit.ledger import Gap, Run, explained, holes


@given(st.sets(st.integers(0, 60), min_size=1))
def test_holes_are_what_no_run_has(numbers: set[int]) -> None:
    """Runs and holes together are every number from 0 to the last, each once, in order."""
    runs: list[Run] = []
    for number in sorted(numbers):
        if runs and runs[-1].last == number - 1:
            runs[-1] = Run(runs[-1].first, number)
        else:
            runs.append(Run(number, number))
    found = [number for hole in holes(runs) for number in range(hole.first, hole.last + 1)]
    assert found == sorted(set(range(max(numbers))) - numbers)


SPANS = st.tuples(st.integers(0, 40), st.integers(0, 20)).map(lambda one: (one[0], one[0] + one[1]))


@given(SPANS, st.lists(SPANS, max_size=5))
def test_every_number_of_a_gap_is_told_or_missing(gap: tuple[int, int], spans: list[tuple[int, int]]) -> None:
    """The parts of a gap are the gap, in order, each number once; missing is exactly what nobody told of."""
    parts = [*explained(Run(*gap), [Gap(first, last, "dropped") for first, last in spans])]
    numbers = [(n, part.why) for part in parts for n in range(part.first, part.last + 1)]
    assert [n for n, _ in numbers] == list(range(gap[0], gap[1] + 1))
    told = {n for first, last in spans for n in range(first, last + 1)}
    assert all((why == "dropped") == (n in told) for n, why in numbers)
