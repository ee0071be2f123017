"""Sizes: what people write becomes bytes, and what is unclear is refused with what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fluxrig.size import MAX_BYTES, Bytes, format_size, parse_size

BYTES = TypeAdapter(Bytes)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1B", 1),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("1.5 MiB", 1_572_864),
        ("8GiB", 8 << 30),
        ("2TB", 2 * 10**12),
    ],
)
def test_units(text: str, size: int) -> None:
    """Binary and decimal units mean what they say."""
    assert BYTES.validate_python(text) == size


@pytest.mark.parametrize(
    "value", ["", "5", "8G", "8gib", "-1MiB", "0B", "1e3MiB", "2000TiB", "\u0661MiB", 5, 0.5, True, None]
)
def test_refused(value: object) -> None:
    """Whatever is not a positive number with a unit is refused, a bare number too."""
    with pytest.raises(ValidationError, match=r"GiB|1024TiB"):
        BYTES.validate_python(value)


@given(st.integers(1, MAX_BYTES))
def test_what_is_printed_reads_back(size: int) -> None:
    """A printed size is within its last digit of the size."""
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06)
