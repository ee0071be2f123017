"""Addresses as people write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.modbus.address import TABLES, Address, Span, parse_address, parse_span, written


@given(st.sampled_from(TABLES), st.integers(0, 65535))
def test_what_is_written_is_read_back(table, number):
    """Every table and every protocol address has one way to write it."""
    address = Address(table, number)
    assert parse_address(str(address)) == address


@given(st.one_of(st.text(max_size=20), st.integers(), st.none(), st.floats()))
def test_anything_else_is_refused_in_words(text):
    """Whatever stands there, the answer is an address or a ValueError."""
    with contextlib.suppress(ValueError):
        assert 0 <= parse_address(text).number <= 65536


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (40001, "holding/0"),
        ("40001", "holding/0"),
        (400001, "holding/0"),
        (465536, "holding/65535"),
        (30010, "input/9"),
        ("10001", "discrete/0"),
        ("00001", "coil/0"),
        ("000017", "coil/16"),
        ("40011.12", "holding/10.12"),
    ],
)
def test_the_numbers_of_manuals_are_read(text, address):
    """Five or six digits: the first names the table, the others count from 1, whatever the base."""
    for base in (0, 1):
        assert str(parse_address(text).based(base)) == address


def test_a_base_of_one_moves_what_has_no_table_digit():
    """`holding/1` is the first register where addresses count from 1, and `holding/0` none."""
    assert str(parse_address("holding/1").based(1)) == "holding/0"
    assert str(parse_address("holding/65536").based(1)) == "holding/65535"
    with pytest.raises(ValueError, match="the first is holding/1"):
        parse_address("holding/0").based(1)
    with pytest.raises(ValueError, match="beyond 65535"):
        parse_address("holding/65536").based(0)


@given(st.sampled_from(TABLES), st.integers(0, 65535), st.one_of(st.none(), st.integers(0, 15)))
def test_what_a_file_said_can_be_said_again(table, number, bit):
    """A configuration that was read and printed means the same."""
    bit = None if table in ("coil", "discrete") else bit
    for absolute in (False, True):
        address = Address(table, number, bit, absolute)
        assert parse_address(written(address)) == address


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("holdin/0", "did you mean holding"),
        ("coils/3", "did you mean coil"),
        ("xyz/0", "the tables are coil, discrete, input, holding"),
        ("holding/65537", "beyond 65535"),
        ("holding/-1", "holding/0, coil/3"),
        ("holding/0.16", "bits 0 to 15"),
        ("coil/0.1", "one bit already"),
        (40001.3, "quotes"),
        (20001, "holding/0"),
        (40000, "holding/0"),
        (470000, "the last is 465536; or write a table and a number, such as holding/0"),
        (40000, "the first is 40001"),
        ("400000", "the first is 400001"),
        (65536, "first digit is 0 for a coil"),
        (1, "coil/0 for"),
        (None, "holding/0, coil/3"),
        (True, "holding/0"),
    ],
)
def test_the_error_says_what_to_write(text, mend):
    """A typo gets the nearest table, a number that is no reference an example."""
    with pytest.raises(ValueError, match=mend):
        parse_address(text)


def test_ranges_are_read():
    """Both ends count."""
    assert parse_span("holding/100-109") == Span("holding", 100, 110)
    assert parse_span("coil/3") == Span("coil", 3, 4)
    assert str(parse_span("holding/1-10").based(1)) == "holding/0-9"
    for text, mend in [
        ("holding/9-3", "holding/3-9"),
        ("holding", "holding/100-109"),
        ("coil/70000", "beyond"),
    ]:
        with pytest.raises(ValueError, match=mend):
            parse_span(text)
