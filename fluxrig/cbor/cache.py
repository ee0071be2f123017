"""What is worth remembering between messages: the same texts and the same map keys come again and again.

A cache that is full is emptied: whatever a peer sends, memory stays bounded and what is in use comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from fluxrig.cbor.head import head
from fluxrig.errors import EncodeError

MAX_TEXTS: Final = 4096
MAX_TEXT_SIZE: Final = 128
MAX_SHAPES: Final = 1024
MAX_SHAPE_SIZE: Final = 2048

Shape: TypeAlias = tuple[list[bytes], Callable[[Mapping[str, Any]], Sequence[Any]]]
"""A map's parts, its encoded keys in order and room for a value behind each; and how to get the values."""


class Texts(dict[str, bytes]):
    """Texts and their encoding, each behind a fixed prefix."""

    def __init__(self, prefix: bytes = b"") -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, text: str) -> bytes:
        encoded = self._prefix + encode_text(text)
        if len(encoded) <= MAX_TEXT_SIZE:
            if len(self) >= MAX_TEXTS:
                self.clear()
            self[text] = encoded
        return encoded


class Shapes(dict[tuple[str, ...], Shape | None]):
    """The shapes of maps by their keys as they come; None for a map with keys that are not plain text."""

    def __missing__(self, names: tuple[Any, ...]) -> Shape | None:
        if not all(type(name) is str for name in names):
            return None
        keys = sorted((encode_text(name), name) for name in names)
        template = [part for key, _ in keys for part in (key, b"")] or [b""]
        template[0] = head(5, len(names)) + template[0]
        shape = template, _getter([name for _, name in keys])
        if sum(map(len, template)) <= MAX_SHAPE_SIZE:
            if len(self) >= MAX_SHAPES:
                self.clear()
            self[names] = shape
        return shape


def encode_text(text: str) -> bytes:
    """Encode a text string as UTF-8."""
    if type(text) is not str:
        raise EncodeError(f"text expected, not {type(text).__name__}")
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"text with half a surrogate pair at character {error.start}") from None
    return head(3, len(content)) + content


def _getter(names: list[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Give what takes the values of `names` from a map, in that order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda mapping: [mapping[name] for name in names]
