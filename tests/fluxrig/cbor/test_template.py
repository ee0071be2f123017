"""Maps encoded around open values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.cbor import MAX_DEPTH, OPEN, encode, pieces
from fluxrig.errors import EncodeError
from tests.fluxrig.cbor.strategies import json_like

maps = st.dictionaries(st.text(max_size=8), st.one_of(json_like, st.dictionaries(st.text(), st.integers())))


def opened(value, chosen):
    """Give a map with OPEN at chosen places, and the values that stood there in the order of the encoding."""
    found, values = {}, []
    for name in sorted(value, key=encode):
        if type(value[name]) is dict and value[name]:
            found[name], inner = opened(value[name], chosen)
            values += inner
        elif chosen():
            found[name] = OPEN
            values.append(value[name])
        else:
            found[name] = value[name]
    return found, values


@given(st.data())
def test_filled_template_is_the_encoding(data):
    """Whatever is left open: the pieces with the values between them are the encoding of the whole map."""
    value = data.draw(maps)
    template, values = opened(value, lambda: data.draw(st.booleans()))
    parts = pieces(template)
    assert len(parts) == len(values) + 1
    filled = parts[0] + b"".join(encode(one) + part for one, part in zip(values, parts[1:], strict=True))
    assert filled == encode(value)


def test_no_template():
    """Keys that are not text, and maps nested too deep, are refused."""
    deep = {"a": OPEN}
    for _ in range(MAX_DEPTH):
        deep = {"a": deep}
    for value in ({1: OPEN}, deep):
        with pytest.raises(EncodeError):
            pieces(value)
