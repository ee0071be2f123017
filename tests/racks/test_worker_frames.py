"""What crosses between a Rack and a worker comes out as it went in, however the bytes are cut."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig import errors
from fluxrig.codec import Carried, decode, encode
from fluxrig.errors import BadMessage, ConfigError, DecodeError, FluxrigError
from fluxrig.message import FluxMsg
from fluxrig.testing import context
from racks.worker.frames import (
    MAX_FRAME_BYTES,
    PIECE_BYTES,
    Splitter,
    encode_or_say,
    messages,
    pieces,
    to_bytes,
    to_error,
    trouble,
)


def made(uns: str, size: int) -> FluxMsg:
    return context().message({"text": "x" * size}, uns=uns)


@given(st.lists(st.tuples(st.sampled_from(["acme/a", "acme/b"]), st.integers(0, 20_000)), max_size=12))
def test_pieces_carry_all_messages_in_order(parts: Sequence[tuple[str, int]]) -> None:
    """Whatever their sizes and assets, messages come out equal, in order, with their bytes and UNS paths."""
    sent = [made(uns, size) for uns, size in parts]
    cut = list(pieces((message.uns, encode(message)) for message in sent))
    came = [message for data, runs in cut for message in messages(data, runs)]
    assert [(message.uns, encode(message)) for message in came] == [(m.uns, encode(m)) for m in sent]
    assert came == sent
    largest = max((len(encode(message)) for message in sent), default=0)
    assert all(len(data) < PIECE_BYTES + largest for data, _ in cut)


@given(st.lists(st.lists(st.integers() | st.binary(max_size=300), min_size=1), max_size=8), st.data())
def test_frames_survive_any_cut(frames: list[list[object]], data: st.DataObject) -> None:
    """Frames come out whole and in order wherever the stream of bytes is cut."""
    whole = b"".join(to_bytes(*frame) for frame in frames)
    splitter, came, at = Splitter(), [], 0
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        came += list(splitter.feed(whole[at : at + size]))
        at += size
    assert came == frames


def test_frames_are_bounded() -> None:
    """A frame beyond the limit is refused by its sender, and by its length before it is there."""
    with pytest.raises(ValueError, match="can cross"):
        to_bytes(b"x" * MAX_FRAME_BYTES)
    with pytest.raises(ValueError, match="can cross"):
        list(Splitter().feed(b"\xff\xff\xff\xff"))
    with pytest.raises(ValueError, match="no frame"):
        list(Splitter().feed(b"\x00\x00\x00\x01\x01"))


def test_a_carried_message_is_a_message() -> None:
    """It equals what was sent, hashes, pickles and derives like it, and knows its asset without decoding."""
    sent = made("acme/press", 3)
    came = Carried(encode(sent), sent.uns)
    assert came.uns == "acme/press"
    with pytest.raises(AttributeError):
        FluxMsg.__dict__["fields"].__get__(came)  # the slot is unset: nothing was decoded
    assert encode(came) == encode(sent)
    assert came == sent
    assert hash(came) == hash(sent)
    assert pickle.loads(pickle.dumps(came)) == sent  # noqa: S301
    assert decode(encode(came.replace(flags=1))) == sent.replace(flags=1)
    with pytest.raises(AttributeError):
        _ = came.nonsense


class Lost(errors.Disconnected):
    """As gears make their own."""


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (errors.NotReady("later"), errors.NotReady, "later"),
        (Lost("gone"), errors.Disconnected, "gone"),
        (BadMessage("\udc80"), BadMessage, "\\udc80"),
        (errors.Dropped("full"), errors.Dropped, "full"),
        (ConfigError([]), FluxrigError, ""),
        (DecodeError("bad", 3), errors.CborError, "bad at offset 3"),
        (ValueError("boom"), FluxrigError, "ValueError: boom"),
        (KeyError(), FluxrigError, "KeyError"),
        (asyncio.CancelledError(), asyncio.CancelledError, ""),
        (SystemExit(3), SystemExit, "3"),
        (SystemExit("bye"), SystemExit, "bye"),
    ],
)
def test_errors_cross_as_themselves(error: BaseException, kind: type[BaseException], text: str) -> None:
    """What the engine acts on keeps its kind and text; anything else is named in the text."""
    (frame,) = Splitter().feed(to_bytes(*trouble(error)))
    came = to_error(frame)
    assert type(came) is kind
    assert str(came) == text


def test_a_message_that_lacks_everything_is_shown() -> None:
    """Even a message without fields has something that goes in its place."""
    uns, data = encode_or_say(FluxMsg.from_fields({"ts": {1}}), context())
    shown = decode(data)
    assert uns == shown.uns == context().uns
    assert b"{1}" in shown.raw
