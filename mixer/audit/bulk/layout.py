"""What messages of one kind have in common: the bytes that are always the same, and the slots between them.

A layout is learned from one message that was decoded with all care. In others of its kind every slot holds
another value of the same type, in as many bytes as that needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

import numpy as np

from fluxrig.cbor.cache import encode_text
from fluxrig.cbor.encoder import encode_item
from fluxrig.cbor.head import head
from fluxrig.cbor.limits import MAX_DEPTH

MAX_BYTES: Final = 4096
"""Of a message that a layout is learned from."""
MAX_SLOTS: Final = 512
"""With nine bytes at most in each, the fixed parts of a message end within `pieces.PAD`."""


class Kind(Enum):
    """What a slot holds, in its one canonical form (RFC 8949 §4.2.1)."""

    FIXED = "bytes without a head, as many as `size`"
    UINT = "an unsigned integer of 64 bits"
    INT = "an integer of 64 bits, in two's complement"
    FLOAT = "a float of 16, 32 or 64 bits"
    BOOL = "true or false"
    TEXT = "a text"
    BYTES = "a byte string that isn't empty"


class Slot(NamedTuple):
    """A place for a value: of the field `name`, or of the tag `name` in the field `data`."""

    name: str
    kind: Kind
    size: int = 0
    in_data: bool = False


class Literal(NamedTuple):
    """Bytes that are always there, as overlapping words: (offset, unused bits at the end, value)."""

    size: int
    words: tuple[tuple[int, int, np.uint64], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The steps along a message, and the one that was learned from: what is in no slot is as it is there."""

    steps: tuple[Literal | Slot, ...]
    fields: dict[str, Any]

    @property
    def open_tags(self) -> frozenset[str]:
        """The tags of `data` whose values are in slots."""
        return frozenset(step.name for step in self.steps if isinstance(step, Slot) and step.in_data)


def learn(fields: dict[str, Any], data: bytes) -> Layout | None:
    """Make the layout of a message, its `fields` in the order of its bytes; None when it is too large."""
    if len(data) > MAX_BYTES:
        return None
    steps = tuple(_merged(_message(fields)))
    if sum(isinstance(step, Slot) for step in steps) > MAX_SLOTS:
        return None
    return Layout(steps, fields)


def _message(fields: dict[str, Any]) -> Iterator[bytes | Slot]:
    yield head(5, len(fields))
    for name, value in fields.items():
        yield encode_text(name)
        yield from _field(name, value)


def _field(name: str, value: Any) -> Iterator[bytes | Slot]:
    if name in {"id", "ref", "trace"}:
        yield head(2, len(value))
        yield Slot(name, Kind.FIXED, len(value))
    elif name == "ts":
        yield Slot(name, Kind.UINT)
    elif name == "raw":
        yield Slot(name, Kind.BYTES)
    elif name == "path":
        yield head(4, len(value))
        for source, _ in value:
            yield head(4, 2) + encode_text(source)
            yield Slot(name, Kind.UINT)
    elif name == "data":
        yield head(5, len(value))
        for tag, item in value.items():
            yield encode_text(tag)
            yield _value(tag, item)
    else:
        yield encode_item(value, MAX_DEPTH)


def _value(tag: str, item: Any) -> bytes | Slot:
    kind = _KINDS.get(type(item))
    if kind is None or (kind is Kind.INT and not -1 << 63 <= item < 1 << 63):
        return encode_item(item, MAX_DEPTH)
    return Slot(tag, kind, in_data=True)


_KINDS: Final = {int: Kind.INT, float: Kind.FLOAT, bool: Kind.BOOL, str: Kind.TEXT}


def _merged(steps: Iterator[bytes | Slot]) -> Iterator[Literal | Slot]:
    fixed = b""
    for step in steps:
        if isinstance(step, bytes):
            fixed += step
            continue
        if fixed:
            yield _literal(fixed)
            fixed = b""
        yield step
    if fixed:
        yield _literal(fixed)


def _literal(text: bytes) -> Literal:
    size = len(text)
    if size < 8:
        return Literal(size, ((0, 64 - 8 * size, np.uint64(int.from_bytes(text))),))
    offsets = [*range(0, size - 8, 8), size - 8]
    words = ((at, 0, np.uint64(int.from_bytes(text[at : at + 8]))) for at in offsets)
    return Literal(size, tuple(words))
