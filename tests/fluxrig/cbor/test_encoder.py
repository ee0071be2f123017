"""Encoding: one form for each value, equal to cbor2's canonical form where the RFC and cbor2 agree."""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxrig import cbor
from fluxrig.errors import EncodeError
from tests.fluxrig.cbor.strategies import U64, blobs, json_like, texts


class Level(IntEnum):
    HIGH = 300


class Word(StrEnum):
    YES = "yes"


class Number(float):
    pass


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@settings(max_examples=300)
@given(json_like)
def test_equals_cbor2_canonical(value: Any) -> None:
    """Every value whose maps have text keys is encoded byte for byte as cbor2's canonical mode does."""
    assert cbor.encode(value) == cbor2.dumps(value, canonical=True)


@given(st.one_of(
    st.dictionaries(st.integers(0, U64), st.none()),
    st.dictionaries(st.integers(-(1 << 64), -1), st.none()),
    st.dictionaries(blobs, st.none()),
    st.dictionaries(texts, st.none()),
))  # fmt: skip
def test_equals_cbor2_where_keys_share_a_major_type(value: dict[Any, None]) -> None:
    """Length-first order and bytewise order are the same among keys of one major type."""
    assert cbor.encode(value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [({1000: 1, "a": 2}, "a21903e801616102"), ({100: 1, -1: 2}, "a21864012002")],
)
def test_mixed_keys_are_in_bytewise_order(value: Any, expected: str) -> None:
    """Keys of several major types follow RFC 8949 §4.2.1, not the length-first order of RFC 7049."""
    assert cbor.encode(value).hex() == expected
    assert cbor2.dumps(value, canonical=True).hex() != expected


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Level.HIGH, 300),
        (Word.YES, "yes"),
        (Number(1.5), 1.5),
        (True, True),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({Word.YES: 1, "no": Level.HIGH}, {"no": 300, "yes": 1}),
        ((1, (2,)), [1, [2]]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_subclasses_are_what_they_derive_from(value: Any, plain: Any) -> None:
    """An enum, a named float or another mapping has the encoding of the plain value."""
    assert cbor.encode(value) == cbor.encode(plain)


def test_integers_and_booleans_as_keys_keep_their_type() -> None:
    """Maps whose keys Python holds equal are not confused with each other, whichever came first."""
    assert [cbor.encode({key: 0}).hex() for key in (1, True, 1.0, "1", 1)] == [
        "a10100",
        "a1f500",
        "a1f93c0000",
        "a1613100",
        "a10100",
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"data": {"pressure": 1j}}, "data.pressure: builtins.complex has no place in a message"),
        ([1, [2, {"a": {1, 2}}]], "[1][1].a: builtins.set has no place in a message"),
        ({"a": "\ud800"}, "a: text with half a surrogate pair at character 0"),
        ({"\udfff": 1}, "text with half a surrogate pair at character 0"),
        ({(1, 2): 3}, "(1, 2) as a map key: use text, bytes or an integer of at most 64 bits"),
        ({1 << 64: 3}, "18446744073709551616 as a map key: use text, bytes or an integer of at most 64 bits"),
        ({float("nan"): 1, -float("nan"): 2}, "two keys of a map have the same encoding"),
        (cbor2.CBORTag(2, b"1"), "a bignum as a tag: give it as an int"),
        (cbor2.CBORTag(9, {"x": object()}), "x: builtins.object has no place in a message"),
        (
            cbor2.CBORSimpleValue(20),
            "simple value 20: 20-23 are False, True, None, undefined; 24-31 are reserved",
        ),
        (bytes(cbor.MAX_SIZE), "1048581 bytes encoded, more than the 1048576 allowed"),
    ],
)  # fmt: skip
def test_what_has_no_encoding_is_refused_with_its_place(value: Any, message: str) -> None:
    """A value without an encoding gives an EncodeError that says where it is."""
    with pytest.raises(EncodeError) as caught:
        cbor.encode(value)
    assert str(caught.value) == message


def test_nesting_is_bounded() -> None:
    """The deepest value allowed is encoded, one level more is refused, and a cycle ends there too."""
    cycle: list[Any] = []
    cycle.append(cycle)
    assert len(cbor.encode(nested(cbor.MAX_DEPTH))) == cbor.MAX_DEPTH
    for value in (nested(cbor.MAX_DEPTH + 1), cycle, {"a": nested(cbor.MAX_DEPTH)}):
        with pytest.raises(EncodeError, match=f"nested more than {cbor.MAX_DEPTH} deep"):
            cbor.encode(value)
