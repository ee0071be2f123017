"""The headers of a message, most of which its maker wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.bus import Source, mark_of
from fluxrig.bus.headers import SOURCE, parse_block
from fluxrig.bus.source_header import parse_source

GENUINE = "UNS:abcdefgh 7 fluxrig.uns.a\ffluxrig.uns.a.> fluxrig.uns.a\ffluxrig.uns.a.> fluxrig.uns.a.b"


def appended(block: bytes) -> bytes:
    """As nats-server adds its header (server/client.go, genHeader): two bytes off, whatever they are."""
    start = block[:-2] if len(block) > 2 else b"NATS/1.0\r\n"
    return start + f"{SOURCE}: {GENUINE}\r\n\r\n".encode()


PARTS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b":", b"NATS/1.0", b"NATS/1.0 \xff\xff\xff "]),
    st.sampled_from([SOURCE.encode(), f"{SOURCE}: forged".encode(), f" {SOURCE} : forged\r\n".encode()]),
)


@given(st.lists(PARTS, max_size=12).map(b"".join))
def test_what_the_hub_says_of_the_source_can_not_be_forged(block: bytes) -> None:
    """Whatever a Rack wrote before it, the hub's own word is what is read."""
    assert parse_block(appended(block))[SOURCE] == GENUINE


@given(st.binary(max_size=64))
def test_no_block_is_too_bad_to_read(block: bytes) -> None:
    """Any bytes give some headers: nothing that a Rack writes ends the reader's connection."""
    parse_block(block)
    parse_source(block.decode(errors="replace"))


def test_a_block_is_read_as_it_is_written() -> None:
    """Names and values without the blanks around them; a status and its reason, where there are some."""
    assert parse_block(b"NATS/1.0\r\nA: b\r\nc:d \r\n\r\n") == {"A": "b", "c": "d"}
    found = parse_block(b"NATS/1.0 409 Message Size Exceeds MaxBytes\r\nX: y\r\n\r\n")
    assert found == {"Status": "409", "Description": "Message Size Exceeds MaxBytes", "X": "y"}
    assert parse_block(b"NATS/1.0 503\r\n\r\n") == {"Status": "503"}


def test_the_source_is_read_from_its_header() -> None:
    """Which Rack's it is, as a mark, and the subject at and below which it takes."""
    source = parse_source(GENUINE)
    assert source == Source("abcdefgh", "fluxrig.uns.a")
    assert source is not None
    assert source.takes("fluxrig.uns.a")
    assert source.takes("fluxrig.uns.a.b.c")
    assert not source.takes("fluxrig.uns.ab")
    assert not source.takes("fluxrig.uns")


@pytest.mark.parametrize("header", ["", "UNS", "UNS 7 a b c", "UNS:x 7 a"])
def test_other_values_are_no_source(header: str) -> None:
    """A value without the mark of a Rack, or with parts missing, names no source."""
    assert parse_source(header) is None


def test_a_rack_has_a_mark() -> None:
    """Eight letters or digits, others for each Rack."""
    marks = {mark_of(f"rack-{n}") for n in range(100)}
    assert len(marks) == 100
    assert all(len(mark) == 8 and mark.isalnum() for mark in marks)
