"""Walk along many messages at once: the rows that follow a layout, and the values in its slots.

What a walk accepts is what the strict decoder accepts: each head as short as its value allows (RFC 8949
§4.2.1), each float in the least width that keeps it, and the last step ends where the message does.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from mixer.audit.bulk.layout import Kind, Layout, Literal, Slot
from mixer.audit.bulk.pieces import Ints, Pieces

_SIZES: Final = np.array([0] * 24 + [1, 2, 4, 8] + [0] * 4)
"""By additional information: how many bytes of argument follow the initial byte (RFC 8949 §3)."""
_UNUSED: Final = (64 - 8 * _SIZES).astype(np.uint64)
_INITIAL: Final = np.array([*range(24), *[0] * 8], np.uint64)
_LEAST: Final = np.array([0] * 24 + [24, 1 << 8, 1 << 16, 1 << 32] + [0] * 4, np.uint64)
"""The smallest argument that needs so many bytes."""
_MAX_INT: Final = np.uint64((1 << 63) - 1)
_HALF_NAN: Final = np.uint64(0x7E00)
_TOP_HALF: Final = 0xF9


class Match(NamedTuple):
    """The rows that follow a layout, and what their slots hold, in the order of the layout.

    FIXED: bytes of shape (rows, size); UINT: uint64; INT: int64; FLOAT: float64; BOOL: bool; TEXT and BYTES:
    Arrow arrays.
    """

    rows: Ints
    slots: list[tuple[Slot, Any]]


def walk(pieces: Pieces, layout: Layout, rows: Ints) -> Match:
    """Give those of `rows` that follow the layout."""
    found = _Walk(pieces, rows)
    for step in layout.steps:
        if not len(found.rows):
            break
        if isinstance(step, Literal):
            found.literal(step)
        else:
            found.slot(step)
    found.keep(found.at == found.ends)
    return Match(found.rows, [(slot, found.values(slot, held)) for slot, held in found.held])


class _Walk:
    """Where in the buffer each row is read next.

    While all rows are as long as each other, they are read at one stride instead of one by one.
    """

    def __init__(self, pieces: Pieces, rows: Ints) -> None:
        self.rows = rows
        self.at = pieces.starts[rows]
        self.ends = pieces.ends[rows]
        self.held: list[tuple[Slot, Any]] = []
        self._data = np.frombuffer(pieces.data, np.uint8)
        self._words = np.ndarray((len(self._data) - 7,), ">u8", pieces.data, strides=(1,))
        self._find_stride()

    def keep(self, fits: Any) -> None:
        """Go on with the rows that fit."""
        if fits.all():
            return
        self.rows, self.at, self.ends = self.rows[fits], self.at[fits], self.ends[fits]
        self.held = [(slot, held[fits]) for slot, held in self.held]
        self._find_stride()

    def literal(self, step: Literal) -> None:
        for offset, unused, wanted in step.words:
            if not len(self.rows):
                return
            words = self._words[self._index(offset)]
            self.keep((words >> np.uint64(unused) if unused else words) == wanted)
        self._advance(step.size)

    def slot(self, slot: Slot) -> None:
        if slot.kind is Kind.FIXED:
            self._hold(slot, self.at)
            self._advance(slot.size)
            return
        heads = self._data[self._index(0)]
        if (heads == heads[0]).all():
            heads = heads[:1]
        info = heads & 31
        argument = self._words[self._index(1)].astype(np.uint64) >> _UNUSED[info] | _INITIAL[info]
        held, fits, sizes = self._read(slot, heads, argument)
        self._hold(slot, held)
        self._advance(sizes)
        self.keep(fits & (self.at <= self.ends))

    def values(self, slot: Slot, held: Any) -> Any:
        """Give the values of a slot from what was held of it."""
        if slot.kind is Kind.FIXED:
            return sliding_window_view(self._data, slot.size)[held]
        if slot.kind is Kind.TEXT:
            return self._contents(held[:, 0], held[:, 1]).cast(pa.string())
        if slot.kind is Kind.BYTES:
            return self._contents(held[:, 0], held[:, 1])
        return held

    def _read(self, slot: Slot, heads: Any, argument: Any) -> tuple[Any, Any, Any]:
        """Give what is held of a slot, which rows have it in canonical form, and how many bytes it takes."""
        info = heads & 31
        sizes = 1 + _SIZES[info]
        if slot.kind is Kind.FLOAT:
            value, fits = _floats(heads, argument)
            return value, fits, sizes
        if slot.kind is Kind.BOOL:
            return np.broadcast_to(heads == 0xF5, argument.shape), heads & 0xFE == 0xF4, 1
        shortest = (argument >= _LEAST[info]) & (info < 28)
        if slot.kind is Kind.UINT:
            return argument, shortest & (heads >> 5 == 0), sizes
        if slot.kind is Kind.INT:
            value = argument.view(np.int64) ^ -(heads >> 5).astype(np.int64)
            return value, shortest & (heads >> 5 <= 1) & (argument <= _MAX_INT), sizes
        major, least = (3, 0) if slot.kind is Kind.TEXT else (2, 1)
        begins = self.at + sizes
        fits = shortest & (heads >> 5 == major) & (argument >= np.uint64(least))
        fits = fits & (argument <= np.maximum(self.ends - begins, 0).astype(np.uint64))
        lengths = np.where(fits, argument, np.uint64(0)).astype(np.int64)
        if slot.kind is Kind.TEXT:
            fits = fits & _are_texts(self._contents(begins, lengths))
        return np.stack((begins, lengths), 1), fits, sizes + lengths

    def _contents(self, begins: Ints, lengths: Ints) -> pa.Array:
        """Give what is at some places, as an Arrow array of bytes."""
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        if len(lengths) and lengths[0] and (lengths == lengths[0]).all():
            content = sliding_window_view(self._data, int(lengths[0]))[begins]
        else:
            content = self._data[np.repeat(begins - offsets[:-1], lengths) + np.arange(offsets[-1])]
        buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(content))]
        return pa.Array.from_buffers(pa.binary(), len(begins), buffers)

    def _hold(self, slot: Slot, values: Any) -> None:
        self.held.append((slot, values))

    def _advance(self, sizes: Any) -> None:
        self.at = self.at + sizes
        if np.ndim(sizes) and (sizes != sizes[0]).any():
            self._stride = 0

    def _find_stride(self) -> None:
        """Tell whether the rows are read at one stride."""
        steps = np.diff(self.at)
        self._stride = int(steps[0]) if len(steps) and steps[0] > 0 and (steps == steps[0]).all() else 0

    def _index(self, offset: int) -> Any:
        if self._stride:
            return slice(int(self.at[0]) + offset, int(self.at[-1]) + offset + 1, self._stride)
        return self.at + offset


def _are_texts(contents: pa.Array) -> Any:
    """Tell which byte strings are UTF-8."""
    try:
        contents.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([_is_text(content) for content in contents.to_pylist()])
    return True


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _floats(heads: Any, argument: Any) -> tuple[Any, Any]:
    """Give floats of all widths as doubles, and which are as short as they can be."""
    if len(heads) == 1:
        return _WIDTHS.get(int(heads[0]), _no_float)(argument)
    value, fits = np.zeros(len(argument)), np.zeros(len(argument), bool)
    for head, width in _WIDTHS.items():
        where = heads == head
        if where.any():
            value[where], fits[where] = width(argument[where])
    return value, fits


def _halves(bits: Any) -> tuple[Any, Any]:
    value = bits.astype(np.uint16).view(np.float16)
    return value.astype(np.float64), (value == value) | (bits == _HALF_NAN)  # noqa: PLR0124 - NaN differs


def _singles(bits: Any) -> tuple[Any, Any]:
    value = bits.astype(np.uint32).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        shorter = value.astype(np.float16)
        return value.astype(np.float64), (value == value) & (shorter != value)  # noqa: PLR0124


def _doubles(bits: Any) -> tuple[Any, Any]:
    value = bits.view(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return value, (value == value) & (value.astype(np.float32) != value)  # noqa: PLR0124


def _no_float(bits: Any) -> tuple[Any, Any]:
    return np.zeros(len(bits)), np.zeros(len(bits), bool)


_WIDTHS: Final = {_TOP_HALF: _halves, _TOP_HALF + 1: _singles, _TOP_HALF + 2: _doubles}
