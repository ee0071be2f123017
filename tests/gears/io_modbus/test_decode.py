"""Registers to values."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.io_modbus.address import Address
from gears.io_modbus.decode import FORMATS, big_endian, decode_number
from gears.io_modbus.tag import Tag

RANGES = {
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "float32": st.floats(width=32),
}
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def reference(value, value_type, order):
    """The bytes on the wire, made with one struct format for each case."""
    letter = FORMATS[value_type].format[1]
    if struct.calcsize(letter) == 2:
        return struct.pack(("<" if order in ("BADC", "DCBA") else ">") + letter, value)
    a, b, c, d = struct.pack(">" + letter, value)
    return bytes({"A": a, "B": b, "C": c, "D": d}[place] for place in order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("value_type", FORMATS)
@given(data=st.data())
def test_every_type_and_order_reads_what_was_written(value_type, order, data):
    """A device that writes a value in any order and a tag that names that order agree, to the last bit."""
    value = data.draw(RANGES[value_type])
    read = decode_number(reference(value, value_type, order), value_type, order)
    assert type(read) is type(value)
    assert read == value or (math.isnan(read) and math.isnan(value))


@given(st.binary(min_size=4, max_size=4), st.sampled_from(ORDERS))
def test_an_order_is_its_own_inverse(wire, order):
    """Reading and writing use the same exchange of bytes."""
    assert big_endian(big_endian(wire, order), order) == wire


def test_the_orders_are_as_documented():
    """The four letters are the bytes in the order of the wire."""
    value = 0x0A0B0C0D
    assert decode_number(bytes.fromhex("0a0b0c0d"), "uint32", "ABCD") == value
    assert decode_number(bytes.fromhex("0c0d0a0b"), "uint32", "CDAB") == value
    assert decode_number(bytes.fromhex("0b0a0d0c"), "uint32", "BADC") == value
    assert decode_number(bytes.fromhex("0d0c0b0a"), "uint32", "DCBA") == value


def test_integers_stay_exact_unless_scaled():
    """Without scale and offset an integer stays one; with them it is a float."""
    plain = Tag("t", Address("holding", 3), "uint32")
    assert plain.value_in([0, 0xFFFF, 0xFFFF], start=2) == 2**32 - 1
    scaled = Tag("t", Address("holding", 3), "int16", scale=0.1, offset=-40.0)
    assert scaled.value_in([650], start=3) == pytest.approx(25.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_pass_as_they_are(value):
    """What a float32 can say is not turned into something else, scaled or not."""
    registers = struct.unpack(">HH", struct.pack(">f", value))
    for scale in (None, 2.0):
        read = Tag("t", Address("input", 0), "float32", scale=scale).value_in(registers, 0)
        assert repr(read) == repr(value)
