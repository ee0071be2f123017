"""What crosses between a Rack and its worker, as bytes. Pure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

import cbor2

from fluxrig import errors
from fluxrig.codec import Carried, encode
from fluxrig.errors import EncodeError, FluxrigError
from fluxrig.gear import MAX_REASON, Context
from fluxrig.message import ERROR, FluxMsg

Frame: TypeAlias = list[Any]
Trouble: TypeAlias = list[Any] | None
"""An error: its kind and its text."""

Piece: TypeAlias = tuple[bytes, list[tuple[str, list[int]]]]
"""Messages as a CBOR sequence (RFC 8742), and the UNS path of each run of them with their lengths."""

PIECE_BYTES: Final = 16 << 10
"""About how many bytes of messages go in one frame: encoding them must not hold up the other gears."""
MAX_FRAME_BYTES: Final = 64 << 20
_LENGTH_BYTES: Final = 4
_KINDS: Final[dict[str, type[FluxrigError]]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, FluxrigError) and kind.__init__ is FluxrigError.__init__
}
"""The errors that are made of a text alone; others cross as the nearest of them."""


def to_bytes(*frame: Any) -> bytes:
    """Encode a frame. Raises ValueError when it is too large."""
    payload = cbor2.dumps(frame)
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(payload)} bytes; at most {MAX_FRAME_BYTES} can cross")
    return len(payload).to_bytes(_LENGTH_BYTES) + payload


class Splitter:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: memoryview | bytes) -> Iterator[Frame]:
        """Give the frames that are whole now. Raises ValueError when these are no frames."""
        self._data += data
        start = 0
        while (end := self._end(start)) <= len(self._data):
            frame = cbor2.loads(bytes(self._data[start + _LENGTH_BYTES : end]))
            start = end
            if not isinstance(frame, list) or not frame:
                raise ValueError("this is no frame")
            yield frame
        del self._data[:start]

    def _end(self, start: int) -> int:
        body = start + _LENGTH_BYTES
        if body > len(self._data):
            return body
        size = int.from_bytes(self._data[start:body])
        if size > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {size} bytes; at most {MAX_FRAME_BYTES} can cross")
        return body + size


def pieces(items: Iterable[tuple[str, bytes]]) -> Iterator[Piece]:
    """Join encoded messages, each with its UNS path, to pieces of about PIECE_BYTES."""
    data: list[bytes] = []
    runs: list[tuple[str, list[int]]] = []
    size, last = 0, None
    for uns, encoding in items:
        data.append(encoding)
        if uns != last:
            runs.append((uns, []))
            last = uns
        runs[-1][1].append(len(encoding))
        size += len(encoding)
        if size >= PIECE_BYTES:
            yield b"".join(data), runs
            data, runs, size, last = [], [], 0, None
    if data:
        yield b"".join(data), runs


def item(message: FluxMsg) -> tuple[str, bytes]:
    """Give a message as `pieces` takes it. Raises EncodeError."""
    data = encode(message)
    return message.uns, data


def messages(data: bytes, runs: Iterable[tuple[str, Iterable[int]]]) -> Iterator[FluxMsg]:
    """Give the messages of a piece, not yet decoded."""
    start = 0
    for uns, lengths in runs:
        for length in lengths:
            yield Carried(data[start : start + length], uns)
            start += length


def encode_or_say(message: FluxMsg, context: Context) -> tuple[str, bytes]:
    """Encode what a gear made; in place of a message without an encoding goes one that shows it."""
    try:
        return item(message)
    except EncodeError as error:
        reason = _plain(f"a message that has no encoding: {error}")[:MAX_REASON]
        raw = _plain(repr(message))[: 64 << 10].encode()
        shown = context.message({"reason": reason, "src": context.src}, schema=ERROR, raw=raw)
        return shown.uns, encode(shown)


def trouble(error: BaseException) -> list[Any]:
    """Give an error as it crosses: by its name if the engine knows it, else as a text that names it."""
    if isinstance(error, asyncio.CancelledError):
        return ["CancelledError", ""]
    if isinstance(error, SystemExit):
        code = error.code
        return ["SystemExit", code if code is None or isinstance(code, int) else _plain(str(code))]
    known = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS]
    text = _plain(str(error))
    if not known:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return [known[0] if known else FluxrigError.__name__, text]


def to_error(found: list[Any]) -> BaseException:
    """Give the error of a `trouble`."""
    kind, text = found
    if kind == "CancelledError":
        return asyncio.CancelledError()
    if kind == "SystemExit":
        return SystemExit(text)
    return _KINDS.get(kind, FluxrigError)(text)


def _plain(text: str) -> str:
    """Give text that has an encoding: lone surrogates are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
