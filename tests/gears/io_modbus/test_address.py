"""Addresses as people write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.io_modbus.address import TABLES, Address, parse_address


@given(st.sampled_from(TABLES), st.integers(0, 65535))
def test_what_is_written_is_read_back(table, number):
    """Every table and every protocol address has one way to write it."""
    address = Address(table, number)
    assert parse_address(str(address)) == address


@given(st.one_of(st.text(max_size=20), st.integers(), st.none(), st.floats()))
def test_anything_else_is_refused_in_words(text):
    """Whatever stands there, the answer is an address or a ValueError."""
    with contextlib.suppress(ValueError):
        assert 0 <= parse_address(text).number <= 65535


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("holdin/0", "did you mean holding"),
        ("coils/3", "did you mean coil"),
        ("xyz/0", "the tables are coil, discrete, input, holding"),
        ("holding/65536", "beyond 65535"),
        ("holding/-1", "holding/0 or coil/3"),
        (40001, "holding/0 for what a manual calls 40001"),
        (400001, "holding/0 for what a manual calls 400001"),
        (30010, "input/9 for"),
        ("10001", "discrete/0 for"),
        (1, "coil/0 for"),
        (None, "holding/0 or coil/3"),
    ],
)
def test_the_error_says_what_to_write(text, mend):
    """A typo gets the nearest table, a reference number from a manual gets its address."""
    with pytest.raises(ValueError, match=mend):
        parse_address(text)
