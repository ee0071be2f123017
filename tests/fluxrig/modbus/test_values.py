"""Values to registers and back."""

import math
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fluxrig.modbus.address import Address
from fluxrig.modbus.decode import BlockDecoder, MeaninglessError, decode_value
from fluxrig.modbus.encode import encode_value
from fluxrig.modbus.plan import Block
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.value_type import FORMS, SHORT_ORDERS

from .strategies import raw_values, tags, texts

ALL_ORDERS = [(kind, order) for kind in ("int16", "int32", "int64", "float64") for order in SHORT_ORDERS]
LETTERS = {"ABCD": "ABCDEFGH", "CDAB": "GHEFCDAB", "BADC": "BADCFEHG", "DCBA": "HGFEDCBA"}


def tag(kind, order="ABCD", at="holding", number=0, bit=None, **rest):
    return Tag("t", Address(at, number, bit), kind, order, **rest)


@pytest.mark.parametrize(("kind", "order"), ALL_ORDERS)
@given(st.data())
def test_the_letters_of_an_order_are_the_bytes_on_the_wire(kind, order, data):
    """A value is read from bytes that are laid out letter by letter, with no arithmetic of ours."""
    value = data.draw(raw_values(kind))
    big = struct.pack(">" + FORMS[kind].code, value)
    if len(big) == 2:
        wire = big[::-1] if order in ("BADC", "DCBA") else big
    else:
        letters = order if len(big) == 4 else LETTERS[order]
        wire = bytes(big["ABCDEFGH".index(letter)] for letter in letters)
    assert decode_value(tag(kind, order), wire) == value
    assert encode_value(tag(kind, order), value).payload == wire


@given(st.data(), tags(tables=("holding",), scaled=False))
def test_what_is_written_is_read_back(data, wanted):
    """Over every type and order, decoding what was encoded gives the same value and type."""
    assume(wanted.type not in ("bool", "string"))
    value = data.draw(raw_values(wanted.type))
    read = decode_value(wanted, encode_value(wanted, value).payload)
    assert read == value
    assert type(read) is type(value)


@given(st.data(), tags(tables=("holding",)))
def test_scaled_values_come_back_to_the_step(data, wanted):
    """A value that was read and is written again leaves the registers as they were."""
    assume(wanted.scale is not None or wanted.offset is not None)
    raw = data.draw(raw_values(wanted.type).filter(lambda raw: abs(raw) < 2**40))
    plain = Tag("t", wanted.at, wanted.type, wanted.order)
    payload = encode_value(plain, raw).payload
    again = decode_value(plain, encode_value(wanted, decode_value(wanted, payload)).payload)
    assert again == pytest.approx(raw, rel=1e-3, abs=1e-2) if isinstance(raw, float) else again == raw


@given(texts, st.sampled_from(("ABCD", "BADC")), st.integers(0, 3))
def test_text_comes_back_without_what_fills_it_up(text, order, more):
    """Up to the first NUL and without blanks at the end, whatever its length and byte order."""
    assume(text)
    wanted = tag("string", order, length=len(text.encode()) + more)
    assert decode_value(wanted, encode_value(wanted, text).payload) == text.rstrip(" ")


@given(st.data())
def test_a_block_gives_what_each_of_its_tags_gives_alone(data):
    """Decoding many tags at once, also such as overlap, is the same as decoding each alone."""
    count = data.draw(st.integers(1, 30))
    addresses = st.integers(0, 60)
    some = [data.draw(tags(f"t{n}", ("holding",), addresses)) for n in range(count)]
    block = Block.of(some)
    payload = data.draw(st.binary(min_size=block.count * 2, max_size=block.count * 2))
    values, faults = BlockDecoder(block.tags, block.start)(payload)
    assert values.keys() | faults.keys() == {each.name for each in some}
    for each in some:
        own = payload[(each.start - block.start) * 2 : (each.end - block.start) * 2]
        if each.name in faults:
            with pytest.raises(MeaninglessError, match=faults[each.name]):
                decode_value(each, own)
        else:
            assert repr(values[each.name]) == repr(decode_value(each, own))


@given(st.binary(min_size=25, max_size=25), st.integers(0, 199))
def test_bits_are_packed_from_the_lowest_on(payload, number):
    """Bit n of an answer is bit n % 8 of byte n // 8 (§6.1)."""
    wanted = Tag("t", Address("coil", number), "bool")
    values, _ = BlockDecoder([wanted], 0)(payload)
    assert values["t"] is bool(int.from_bytes(payload, "little") >> number & 1)


def test_parts_of_a_register_are_told_apart():
    """High and low byte, signed or not, and single bits."""
    wire = bytes([0x80, 0x7F])
    assert decode_value(tag("int8_high"), wire) == -128
    assert decode_value(tag("uint8_high"), wire) == 128
    assert decode_value(tag("int8_low"), wire) == 127
    assert [decode_value(tag("bool", bit=bit), wire) for bit in (15, 14, 7, 6, 0)] == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_a_part_of_a_register_is_written_without_the_rest():
    """The mask has the bits that are the tag's own."""
    assert encode_value(tag("bool", bit=3), True).mask == 8
    assert encode_value(tag("bool", bit=3), True).payload == b"\0\x08"
    assert encode_value(tag("uint8_high"), 0xAB) == encode_value(tag("uint8_high"), 0xAB)
    assert (encode_value(tag("uint8_high"), 0xAB).payload, encode_value(tag("uint8_high"), 1).mask) == (
        b"\xab\0",
        0xFF00,
    )
    assert (encode_value(tag("int8_low"), -1).payload, encode_value(tag("int8_low"), -1).mask) == (
        b"\0\xff",
        0xFF,
    )


def test_bcd_is_read_digit_by_digit_and_nothing_else():
    """0x1234 is 1234; a digit above 9 is no number."""
    assert decode_value(tag("bcd16"), bytes.fromhex("1234")) == 1234
    assert decode_value(tag("bcd32", "CDAB"), bytes.fromhex("56781234")) == 12345678
    with pytest.raises(MeaninglessError, match="not_bcd"):
        decode_value(tag("bcd16"), bytes.fromhex("12a4"))


def test_bytes_that_are_no_text_are_none():
    """A reason, not a replacement character."""
    with pytest.raises(MeaninglessError, match="not_text"):
        decode_value(tag("string", length=2), b"\xff\xfe")
    assert decode_value(tag("string", length=2, encoding="latin-1"), b"\xb0C") == "°C"


def test_integers_stay_exact_and_floats_whole_unless_asked():
    """No scale: 64 bits to the last one. No precision: no digit is lost."""
    assert decode_value(tag("uint64"), b"\xff" * 8) == 2**64 - 1
    assert decode_value(tag("float64"), struct.pack(">d", math.pi)) == math.pi
    assert decode_value(tag("float64", precision=2), struct.pack(">d", math.pi)) == 3.14
    assert decode_value(tag("int16", scale=0.1, offset=-40.0, precision=1), b"\x02\x8a") == 25.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_read_as_they_are_and_never_written(value):
    """What a float32 can say is not turned into something else; a setpoint is a number."""
    for scale in (None, 2.0):
        assert repr(decode_value(tag("float32", scale=scale), struct.pack(">f", value))) == repr(value)
    with pytest.raises(ValueError, match="finite"):
        encode_value(tag("float32"), value)


@pytest.mark.parametrize(
    ("wanted", "value", "why"),
    [
        (tag("uint16"), 65536, "beyond what a uint16"),
        (tag("int16"), -32769, "beyond"),
        (tag("int8_low"), 200, "beyond"),
        (tag("uint16", scale=0.1), 6554, "beyond what a uint16 can hold .65540 in"),
        (tag("float32"), 1e39, "beyond"),
        (tag("float16"), 1e6, "beyond"),
        (tag("float32", scale=1e-300), 1e300, "too large"),
        (tag("uint16", scale=1e-5), 1e308, "1e.308 is beyond what a uint16 can hold$"),
        (tag("int64"), 10**60, "100.*00 is beyond"),
        pytest.param(tag("bcd16"), -(10**5000), "thousands of digits is beyond", id="huge"),
        pytest.param(tag("bool", at="coil"), 10**5000, "neither", id="huge bit"),
        (tag("uint16"), 1.5, "no whole number"),
        (tag("uint16"), "1", "no number"),
        (tag("uint16"), True, "no number"),
        (tag("uint16"), None, "no number"),
        (tag("bcd16"), 10000, "0 to 9999"),
        (tag("bcd16"), -1, "0 to 9999"),
        (tag("string", length=2), "abc", "takes 3 bytes"),
        (tag("string", length=8), "a\0b", "NUL"),
        (tag("string", length=8), 5, "no text"),
        (tag("string", length=8, encoding="ascii"), "é", "ascii has not"),
        (tag("bool", at="coil"), 2, "neither"),
        (tag("bool", at="coil"), "on", "neither"),
    ],
)
def test_a_value_that_has_no_place_is_refused_in_words(wanted, value, why):
    """Nothing is cut, wrapped or guessed."""
    with pytest.raises(ValueError, match=why):
        encode_value(wanted, value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**1500), 2**1500) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(ANYTHING, tags(tables=("holding", "coil")))
def test_whatever_a_message_brings_is_encoded_or_refused_in_a_few_words(value, wanted):
    """There is no third way: nothing else is raised, and no error is longer than a line."""
    told, encoded = "", None
    try:
        encoded = encode_value(wanted, value)
    except ValueError as error:
        told = str(error)
    assert len(told) < 160
    assert bool(told) != bool(encoded)
    if encoded is not None:
        assert len(encoded.payload) == (1 if wanted.at.table == "coil" else wanted.size * 2)
