"""Messages that are bytes already: flags are set in them as in any other."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fluxrig.codec import Carried, encode, encode_flagged
from fluxrig.message import FluxMsg

TRAPS = st.sampled_from(
    [
        b"\x66schema",
        b"\x66schema\x61a",
        b"\x66schema\x78\x18",
        b"\x65flags\x01",
        b"\x65trace\x58\x18",
        b"\xa5",
        b"x",
    ]
)
RAW = st.lists(TRAPS, max_size=8).map(b"".join)


@given(
    schema=st.lists(TRAPS, min_size=1, max_size=3).map(lambda parts: b"".join(parts).decode("latin-1")),
    raw=st.none() | RAW,
    trace=st.none() | st.binary(min_size=24, max_size=24),
    own=st.sampled_from([0, 1, 2, 24, 1 << 20]),
    flags=st.sampled_from([1, 3, 23, 24, 1 << 16]),
    data=st.none() | st.dictionaries(st.text(max_size=6), st.integers() | st.text(max_size=9), max_size=3),
)
@example(schema="xfschemacabc", raw=None, trace=None, own=0, flags=1, data=None)
@example(schema="a", raw=b"\x66schema\x69\x66schema\x61a", trace=None, own=0, flags=1, data=None)
def test_flags_are_set_in_the_bytes(flags, own, **fields):
    """The bytes are those of the same message with the flags, whatever its values look like."""
    message = FluxMsg(id=bytes(16), ts=7, src="r/g", uns="a/b", flags=own, **fields)
    wanted = encode(FluxMsg.from_fields({**message.fields, "flags": own | flags}))
    assert encode_flagged(message, flags) == wanted
    assert encode_flagged(Carried(encode(message), "a/b"), flags) == wanted


@pytest.mark.parametrize("schema", ["fluxrig.tags/1", "ot.transaction/1"])
def test_flags_are_set_without_decoding(schema):
    """A usual message stays bytes."""
    message = FluxMsg(id=bytes(range(16)), ts=1, src="r/g", uns="a/b", schema=schema, data={"flag": 1})
    carried = Carried(encode(message), "a/b")
    encode_flagged(carried, 1)
    with pytest.raises(AttributeError):
        object.__getattribute__(carried, "fields")
