"""Diagnostic notation for what Appendix A does not show."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given

from fluxrig import cbor
from tests.fluxrig.cbor.strategies import values


@pytest.mark.parametrize(
    ("value", "notation"),
    [
        (1 << 1024, "2(h'01" + "00" * 128 + "')"),
        (-1 - (1 << 1024), "3(h'01" + "00" * 128 + "')"),
        (cbor2.CBORTag(99, {1: [b"\xff", None]}), "99({1: [h'ff', null]})"),
        ("line\nbreak\u2028\x1b\x9b é", '"line\\nbreak\\u2028\\u001b\\u009b é"'),
    ],
)
def test_notation(value: Any, notation: str) -> None:
    """Large integers are shown as tagged bytes, control characters escaped, all on one line."""
    assert cbor.diagnose(value) == notation


def test_an_integer_of_any_size_is_shown() -> None:
    """Python's limit on decimal digits does not reach the one who reads."""
    assert len(cbor.diagnose(1 << 100_000)) == 25_000 + 2 + 6


@given(values)
def test_every_value_has_a_notation_on_one_line(value: Any) -> None:
    """Whatever was decoded is one printable line, so it can't play tricks on a terminal."""
    assert cbor.diagnose(value).isprintable()


def test_what_is_no_cbor_value_is_refused() -> None:
    """A Python object that no decoder makes is a mistake of the caller."""
    with pytest.raises(TypeError, match="object is not a CBOR value"):
        cbor.diagnose(object())
