"""The examples of RFC 8949 Appendix A, every one: accepted with its value, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from cbor2 import CBORSimpleValue, CBORTag, undefined

from fluxrig import cbor
from fluxrig.errors import DecodeError
from tests.fluxrig.cbor.strategies import form

INF = float("inf")
NAN = float("nan")

ACCEPTED: list[tuple[str, Any, str]] = [
    ("00", 0, "0"),
    ("01", 1, "1"),
    ("0a", 10, "10"),
    ("17", 23, "23"),
    ("1818", 24, "24"),
    ("1819", 25, "25"),
    ("1864", 100, "100"),
    ("1903e8", 1000, "1000"),
    ("1a000f4240", 1000000, "1000000"),
    ("1b000000e8d4a51000", 1000000000000, "1000000000000"),
    ("1bffffffffffffffff", 18446744073709551615, "18446744073709551615"),
    ("c249010000000000000000", 18446744073709551616, "18446744073709551616"),
    ("3bffffffffffffffff", -18446744073709551616, "-18446744073709551616"),
    ("c349010000000000000000", -18446744073709551617, "-18446744073709551617"),
    ("20", -1, "-1"),
    ("29", -10, "-10"),
    ("3863", -100, "-100"),
    ("3903e7", -1000, "-1000"),
    ("f90000", 0.0, "0.0"),
    ("f98000", -0.0, "-0.0"),
    ("f93c00", 1.0, "1.0"),
    ("fb3ff199999999999a", 1.1, "1.1"),
    ("f93e00", 1.5, "1.5"),
    ("f97bff", 65504.0, "65504.0"),
    ("fa47c35000", 100000.0, "100000.0"),
    ("fa7f7fffff", 3.4028234663852886e38, "3.4028234663852886e+38"),
    ("fb7e37e43c8800759c", 1.0e300, "1e+300"),
    ("f90001", 5.960464477539063e-8, "5.960464477539063e-08"),
    ("f90400", 0.00006103515625, "6.103515625e-05"),
    ("f9c400", -4.0, "-4.0"),
    ("fbc010666666666666", -4.1, "-4.1"),
    ("f97c00", INF, "Infinity"),
    ("f97e00", NAN, "NaN"),
    ("f9fc00", -INF, "-Infinity"),
    ("f4", False, "false"),
    ("f5", True, "true"),
    ("f6", None, "null"),
    ("f7", undefined, "undefined"),
    ("f0", CBORSimpleValue(16), "simple(16)"),
    ("f8ff", CBORSimpleValue(255), "simple(255)"),
    (
        "c074323031332d30332d32315432303a30343a30305a",
        CBORTag(0, "2013-03-21T20:04:00Z"),
        '0("2013-03-21T20:04:00Z")',
    ),
    ("c11a514b67b0", CBORTag(1, 1363896240), "1(1363896240)"),
    ("c1fb41d452d9ec200000", CBORTag(1, 1363896240.5), "1(1363896240.5)"),
    ("d74401020304", CBORTag(23, b"\1\2\3\4"), "23(h'01020304')"),
    ("d818456449455446", CBORTag(24, b"dIETF"), "24(h'6449455446')"),
    (
        "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
        CBORTag(32, "http://www.example.com"),
        '32("http://www.example.com")',
    ),
    ("40", b"", "h''"),
    ("4401020304", b"\1\2\3\4", "h'01020304'"),
    ("60", "", '""'),
    ("6161", "a", '"a"'),
    ("6449455446", "IETF", '"IETF"'),
    ("62225c", '"\\', '"\\"\\\\"'),
    ("62c3bc", "\u00fc", '"ü"'),
    ("63e6b0b4", "\u6c34", '"水"'),
    ("64f0908591", "\U00010151", '"\U00010151"'),
    ("80", [], "[]"),
    ("83010203", [1, 2, 3], "[1, 2, 3]"),
    ("8301820203820405", [1, [2, 3], [4, 5]], "[1, [2, 3], [4, 5]]"),
    (
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
        list(range(1, 26)),
        str(list(range(1, 26))),
    ),
    ("a0", {}, "{}"),
    ("a201020304", {1: 2, 3: 4}, "{1: 2, 3: 4}"),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}, '{"a": 1, "b": [2, 3]}'),
    ("826161a161626163", ["a", {"b": "c"}], '["a", {"b": "c"}]'),
    (
        "a56161614161626142616361436164614461656145",
        dict(zip("abcde", "ABCDE", strict=True)),
        '{"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}',
    ),
]

REFUSED = [
    ("fa7f800000", "float that is longer than needed", 0),
    ("fa7fc00000", "float that is not the canonical NaN f97e00", 0),
    ("faff800000", "float that is longer than needed", 0),
    ("fb7ff0000000000000", "float that is longer than needed", 0),
    ("fb7ff8000000000000", "float that is not the canonical NaN f97e00", 0),
    ("fbfff0000000000000", "float that is longer than needed", 0),
    ("5f42010243030405ff", "byte string of indefinite length", 0),
    ("7f657374726561646d696e67ff", "text string of indefinite length", 0),
    ("9fff", "array of indefinite length", 0),
    ("9f018202039f0405ffff", "array of indefinite length", 0),
    ("9f01820203820405ff", "array of indefinite length", 0),
    ("83018202039f0405ff", "array of indefinite length", 5),
    ("83019f0203ff820405", "array of indefinite length", 2),
    ("9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", "array of indefinite length", 0),
    ("bf61610161629f0203ffff", "map of indefinite length", 0),
    ("826161bf61626163ff", "map of indefinite length", 3),
    ("bf6346756ef563416d7421ff", "map of indefinite length", 0),
]


@pytest.mark.parametrize(("digits", "value", "_notation"), ACCEPTED)
def test_deterministic_examples_are_accepted_both_ways(digits: str, value: Any, _notation: str) -> None:
    """An example in preferred serialization decodes to its value, which encodes to the same bytes."""
    assert form(cbor.decode_strict(bytes.fromhex(digits))) == form(value)
    assert cbor.encode(value).hex() == digits


@pytest.mark.parametrize(("digits", "_value", "notation"), ACCEPTED)
def test_diagnostic_notation_of_the_examples(digits: str, _value: Any, notation: str) -> None:
    """An example is shown as the RFC writes it, exponents of floats aside."""
    assert cbor.diagnose(cbor.decode_strict(bytes.fromhex(digits))) == notation


@pytest.mark.parametrize(("digits", "reason", "offset"), REFUSED)
def test_other_examples_are_refused_with_the_reason(digits: str, reason: str, offset: int) -> None:
    """An example of indefinite length or longer than needed is refused, where it stands."""
    with pytest.raises(DecodeError) as caught:
        cbor.decode_strict(bytes.fromhex(digits))
    assert (caught.value.reason, caught.value.offset) == (reason, offset)
