"""What values and messages there can be, for property tests."""

from __future__ import annotations

import random
from math import isnan
from typing import Any

import cbor2
from hypothesis import strategies as st

from fluxrig.message import FluxMsg

U64 = (1 << 64) - 1
_EDGES = [sign * ((1 << bits) + step) for bits in (0, 5, 8, 16, 32, 53, 63, 64, 65, 500)
          for step in (-1, 0, 1) for sign in (1, -1)] + [23, 24, -24, -25]  # fmt: skip
_FLOAT_EDGES = [
    0.0,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    5.960464477539063e-08,  # the smallest half, half of it, and just above
    2.9802322387695312e-08,
    5.960464477539064e-08,
    6.097555160522461e-05,  # the largest subnormal half
    6.103515625e-05,
    65504.0,
    65505.0,
    65519.99,
    65520.0,
    1.401298464324817e-45,  # the smallest single
    1.1754942106924411e-38,
    1.1754943508222875e-38,
    3.4028234663852886e38,
    3.4028235677973366e38,  # rounds beyond the largest single
    1e39,
    5e-324,
    1.7976931348623157e308,
    16777216.0,
    16777217.0,
    2048.0,
    2049.0,
    1.1,
]

ints = st.one_of(st.integers(-(1 << 70), 1 << 70), st.sampled_from(_EDGES), st.integers(-300, 300))
floats = st.one_of(
    st.floats(), st.floats(width=32), st.floats(width=16), st.sampled_from(_FLOAT_EDGES)
)  # fmt: skip
texts = st.one_of(
    st.text(max_size=30), st.integers(22, 26).map("é".__mul__), st.integers(250, 300).map("x".__mul__)
)
blobs = st.one_of(st.binary(max_size=30), st.integers(250, 300).map(bytes))
scalars = st.one_of(st.none(), st.booleans(), ints, floats, texts, blobs)

json_like = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=12,
)
"""Values whose maps have text keys alone: what cbor2's canonical encoding and RFC 8949 agree on."""

simples = st.sampled_from([*range(20), *range(32, 256)]).map(cbor2.CBORSimpleValue)
tags = st.integers(0, U64).filter(lambda number: number not in {2, 3})
_NAN = float("nan")
float_keys = floats.map(lambda number: _NAN if isnan(number) else number)
"""All NaNs as one object: a map with two NaN keys has no encoding, which a test of its own holds."""
keys = st.one_of(
    texts, blobs, st.integers(-(1 << 64), U64), float_keys, st.booleans(), st.none(), simples
)  # fmt: skip
values = st.recursive(
    st.one_of(scalars, simples, st.just(cbor2.undefined)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(keys, inner, max_size=6),
        st.builds(cbor2.CBORTag, tags, inner),
    ),
    max_leaves=12,
)
"""Everything that has an encoding."""

times = st.one_of(st.integers(0, U64), st.sampled_from([0, 1 << 32, (1 << 32) - 1, U64]), st.just(1 << 60))
messages = st.builds(
    FluxMsg,
    id=st.binary(min_size=16, max_size=16),
    ts=times,
    src=texts,
    uns=texts,
    schema=texts,
    data=st.dictionaries(texts, json_like, max_size=5),
    meta=st.dictionaries(texts, texts, max_size=4),
    raw=blobs,
    ref=st.none() | st.binary(min_size=16, max_size=16),
    trace=st.none() | st.binary(min_size=24, max_size=24),
    path=st.lists(st.tuples(texts, times).map(list), max_size=3) | st.just([["a", 1 << 40]] * 25),
    flags=st.one_of(st.integers(0, U64), st.integers(0, 300)),
)


def form(value: Any) -> Any:
    """Give what can be compared: type and sign of zero count, NaN equals itself, order of keys does not."""
    if isinstance(value, dict):
        return frozenset((form(key), form(item)) for key, item in value.items())
    if isinstance(value, list):
        return ("list", *map(form, value))
    if isinstance(value, cbor2.CBORTag):
        return ("tag", value.tag, form(value.value))
    return type(value), repr(value)


def mutated(data: bytes, seed: int) -> bytes:
    """Change bytes as a broken or hostile peer would: flip, cut, insert, append."""
    draw = random.Random(seed)
    result = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(result) + 1)
        match draw.randrange(4):
            case 0:
                result[at : at + 1] = draw.randbytes(1)
            case 1:
                del result[at : at + draw.randint(1, 3)]
            case 2:
                result[at:at] = draw.randbytes(draw.randint(1, 3))
            case _:
                result += data[: draw.randint(0, len(data))]
    return bytes(result)
