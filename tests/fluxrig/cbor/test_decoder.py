"""Strict decoding accepts exactly what encoding makes, and says of everything else what and where."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxrig import cbor
from fluxrig.errors import DecodeError
from tests.fluxrig.cbor.strategies import form, mutated, values

REFUSED = [
    ("", "item cut short: at least 1 bytes wanted, 0 left", 0),
    ("18", "unsigned integer cut short: at least 1 bytes wanted, 0 left", 0),
    ("83 01 02", "array cut short: at least 3 bytes wanted, 2 left", 0),
    ("82 81 00", "item cut short: at least 1 bytes wanted, 0 left", 3),
    ("62 61", "text string cut short: at least 2 bytes wanted, 1 left", 0),
    ("00 00", "1 bytes after the end of the item", 1),
    ("1817", "unsigned integer whose head is longer than needed", 0),
    ("81 1900ff", "unsigned integer whose head is longer than needed", 1),
    ("3a0000ffff", "negative integer whose head is longer than needed", 0),
    ("1b00000000ffffffff", "unsigned integer whose head is longer than needed", 0),
    ("5801 00", "byte string whose head is longer than needed", 0),
    ("7801 61", "text string whose head is longer than needed", 0),
    ("9801 00", "array whose head is longer than needed", 0),
    ("b801 0000", "map whose head is longer than needed", 0),
    ("d805 00", "tag whose head is longer than needed", 0),
    ("fb3ff0000000000000", "float that is longer than needed", 0),
    ("82 00 fa3f800000", "float that is longer than needed", 2),
    ("f97e01", "float that is not the canonical NaN f97e00", 0),
    ("f9fe00", "float that is not the canonical NaN f97e00", 0),
    ("f818", "simple value 24 in two bytes", 0),
    ("f814", "simple value 20 in two bytes", 0),
    ("1c", "reserved additional information 28", 0),
    ("fd", "reserved additional information 29", 0),
    ("df", "reserved additional information 31", 0),
    ("1f", "reserved additional information 31", 0),
    ("81 ff", "a break outside of an indefinite length", 1),
    ("5f4100ff", "byte string of indefinite length", 0),
    ("bfff", "map of indefinite length", 0),
    ("61 ff", "text that is not UTF-8 (invalid start byte)", 1),
    ("64 61 eda080", "text that is not UTF-8 (invalid continuation byte)", 2),
    ("62 c080", "text that is not UTF-8 (invalid start byte)", 1),
    ("a2 6161 01 6161 02", "duplicate key: 'a'", 4),
    ("a2 6162 01 6161 02", "map keys that are not in order: 'a'", 4),
    ("a2 626161 01 6162 02", "map keys that are not in order: 'b'", 5),
    ("a2 01 00 f93c00 00", "key 1.0 and one before it that Python can't tell apart", 3),
    ("a2 00 00 f4 00", "key False and one before it that Python can't tell apart", 3),
    ("a1 80 00", "array as a map key", 1),
    ("a1 a0 00", "map as a map key", 1),
    ("a1 c249010000000000000000 00", "tag as a map key", 1),
    ("c2 4100", "bignum with leading zeros", 0),
    ("c2 4a 00010000000000000000", "bignum with leading zeros", 0),
    ("c2 48 ffffffffffffffff", "bignum that fits 64 bits", 0),
    ("c3 40", "bignum that fits 64 bits", 0),
    ("c2 00", "bignum whose content is not a byte string", 0),
    ("c2", "bignum whose content is not a byte string", 0),
    ("81" * 33 + "00", "nested more than 32 deep", 32),
    ("d9ffff" * 33 + "00", "nested more than 32 deep", 96),
    ("81" * 100_000, "nested more than 32 deep", 32),
]


def assert_refused_or_an_encoding(data: bytes) -> None:
    with suppress(DecodeError):
        assert cbor.encode(cbor.decode_strict(data)) == data


@given(values)
def test_decodes_what_was_encoded(value: Any) -> None:
    """decode(encode(v)) = v for every value, type by type."""
    assert form(cbor.decode_strict(cbor.encode(value))) == form(value)


@settings(max_examples=400)
@given(values, st.integers(0, 1 << 32))
def test_accepts_only_what_encode_makes(value: Any, seed: int) -> None:
    """Whatever changed bytes are accepted, encoding the result gives them back."""
    assert_refused_or_an_encoding(mutated(cbor.encode(value), seed))


@given(st.binary(max_size=40))
@example(bytes.fromhex("d81c81d81d00"))
@example(bytes.fromhex("a1f97e0000"))
def test_accepts_of_random_bytes_only_what_encode_makes(data: bytes) -> None:
    """Random bytes are refused, or are an encoding."""
    assert_refused_or_an_encoding(data)


@pytest.mark.parametrize(("digits", "reason", "offset"), REFUSED)
def test_every_fault_is_named_with_its_offset(digits: str, reason: str, offset: int) -> None:
    """Each kind of fault has a reason of its own, and the offset where it stands."""
    with pytest.raises(DecodeError) as caught:
        cbor.decode_strict(bytes.fromhex(digits))
    assert (caught.value.reason, caught.value.offset) == (reason, offset)


@pytest.mark.parametrize("head", ["9b", "bb", "5b", "7b", "da7fffffff9b"])
def test_a_bomb_allocates_nothing(head: str) -> None:
    """A length of 2^64 - 1 is refused for the bytes that are not there, before memory is taken."""
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="cut short"):
            cbor.decode_strict(bytes.fromhex(head) + b"\xff" * 8)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_size_is_bounded() -> None:
    """The largest item allowed is decoded; one more byte is refused whatever else follows."""
    content = bytes(cbor.MAX_SIZE - 5)
    assert cbor.decode_strict(cbor.encode(content)) == content
    with pytest.raises(DecodeError, match=f"item of more than {cbor.MAX_SIZE} bytes at offset 0"):
        cbor.decode_strict(b"\x5a\x00\x0f\xff\xfc" + bytes(cbor.MAX_SIZE))


def test_items_of_a_sequence_come_one_by_one() -> None:
    """An item is read from its offset on, and the offset behind it is given."""
    assert cbor.decode_next(bytes.fromhex("01820203"), 1) == ([2, 3], 4)
