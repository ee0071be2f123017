"""The ledger of the demo finds each kind of fault, and no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.cli.demo.ledger import Ledger, Row, reckon

FIRST = 41


def rows(*numbers: int) -> list[Row]:
    return [Row(number, stream_seq, str(number)) for stream_seq, number in enumerate(numbers)]


@given(st.integers(1, 300))
def test_all_stored_once_in_order_balances(count: int) -> None:
    """What arrives as it was accepted has no fault."""
    accepted = range(FIRST, FIRST + count)
    ledger = reckon(accepted, rows(*accepted))
    assert ledger == Ledger(count, count, 0, 0, 0)
    assert ledger.balances


@given(st.sets(st.integers(0, 99), min_size=1))
def test_each_missing_number_is_lost(missing: set[int]) -> None:
    """Every accepted number without a row counts as lost, wherever it stood."""
    ledger = reckon(range(100), rows(*(set(range(100)) - missing)))
    assert ledger.lost == len(missing)
    assert not ledger.balances


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_each_repeated_number_is_a_duplicate(extra: list[int]) -> None:
    """Every row beyond the first of its number counts, and nothing is lost by it."""
    ledger = reckon(range(10), rows(*sorted([*range(10), *extra])))
    assert (ledger.duplicated, ledger.lost, ledger.out_of_order) == (len(extra), 0, 0)
    assert not ledger.balances


def test_the_same_message_under_two_numbers_is_a_duplicate() -> None:
    """A message that was sent twice is found by its id, though its numbers are in order."""
    ledger = reckon(range(2), [Row(0, 0, "same"), Row(1, 1, "same")])
    assert ledger.duplicated == 1
    assert not ledger.balances


@pytest.mark.parametrize(
    ("order", "inversions"),
    [((0, 2, 1, 3), 1), ((3, 2, 1, 0), 3), ((2, 3, 0, 1), 1), ((0, 1, 2, 3), 0)],
)
def test_each_step_back_is_out_of_order(order: tuple[int, ...], inversions: int) -> None:
    """A row that follows one with a higher number counts, and is neither lost nor a duplicate."""
    ledger = reckon(range(4), rows(*order))
    assert (ledger.out_of_order, ledger.lost, ledger.duplicated) == (inversions, 0, 0)
    assert ledger.balances == (inversions == 0)


def test_a_row_ahead_of_an_earlier_parcel_is_out_of_order() -> None:
    """The hub's own numbers count, too: rows stand in Parquet in the order of the stream."""
    ledger = reckon(range(3), [Row(0, 7, "a"), Row(1, 9, "b"), Row(2, 8, "c")])
    assert (ledger.out_of_order, ledger.lost, ledger.duplicated) == (1, 0, 0)


def test_many_messages_of_one_parcel_are_in_order() -> None:
    """One parcel holds many messages, so its number repeats, and that is no fault."""
    assert reckon(range(3), [Row(0, 7, "a"), Row(1, 7, "b"), Row(2, 7, "c")]).balances


def test_a_row_that_nobody_accepted_does_not_balance() -> None:
    """More rows than accepted messages is a fault, too: the ledger compares both sides."""
    ledger = reckon(range(3), rows(0, 1, 2, 3))
    assert (ledger.accepted, ledger.stored) == (3, 4)
    assert not ledger.balances


def test_nothing_accepted_and_nothing_stored_balances() -> None:
    """Zero equals zero; that the demo did anything at all is asked elsewhere."""
    assert reckon(range(0), []).balances
