"""Encoded messages in one buffer, and where each begins and ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

PAD: Final = 16 << 10
"""Zero bytes behind the last message: a walk along a layout looks less than that past an end."""
_START: Final = np.frombuffer(b"\x62id\x50", "<u4")[0]
"""How every message goes on after the head of its map: its first field is `id`, of 16 bytes."""
_HEADS: Final = 0xA5, 0xAC
"""A map of the five fields that each message has, up to the twelve there are."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Messages as bytes; `data` ends with `PAD`, `starts` and `ends` are offsets in it."""

    data: bytes
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, parts: Iterable[bytes], starts: Ints, ends: Ints) -> Self:
        """Join parts, and take them as messages between the offsets given."""
        return cls(b"".join((*parts, bytes(PAD))), starts, ends)

    @classmethod
    def from_array(cls, array: Any) -> Self:
        """Take each value of an Arrow array of bytes without nulls as one message."""
        ends = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
        offsets = ends.astype(np.int64)
        values = array.buffers()[2]
        part = values[int(offsets[0]) : int(offsets[-1])].to_pybytes() if values else b""
        offsets -= offsets[0]
        return cls.of([part], offsets[:-1], offsets[1:])

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes:
        return self.data[self.starts[row] : self.ends[row]]

    def take(self, rows: Any) -> Self:
        return type(self)(self.data, self.starts[rows], self.ends[rows])

    def to_list(self) -> list[bytes]:
        data = self.data
        return [data[start:end] for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]

    def array(self) -> pa.Array:
        """Give the messages as an Arrow array of bytes; it shares the buffer where they are in one line."""
        if len(self) and np.array_equal(self.starts[1:], self.ends[:-1]):
            offsets = np.append(self.starts, self.ends[-1]).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
            return pa.Array.from_buffers(pa.binary(), len(self), buffers)
        return pa.array(self.to_list(), pa.binary())


def cut(payloads: Sequence[bytes]) -> tuple[Pieces, Ints]:
    """Cut CBOR sequences where messages seem to begin; give the pieces, and how many each payload has.

    A piece that turns out to be no message says that its payload is bad, or was cut in a wrong place: what
    looks like a beginning may be within a message.
    """
    joined = b"".join((*payloads, bytes(PAD)))
    limits = np.cumsum([0, *map(len, payloads)], dtype=np.int64)
    data = np.frombuffer(joined, np.uint8)
    words = np.ndarray((len(joined) - 3,), "<u4", joined, strides=(1,))
    marks = np.flatnonzero(data[1:-3] == 0x62) + 1
    marks = marks[words[marks] == _START] - 1
    marks = marks[(data[marks] >= _HEADS[0]) & (data[marks] <= _HEADS[1])]
    begins = limits[:-1][np.diff(limits) > 0]
    starts = np.sort(np.concatenate((marks, begins)))
    starts = starts[np.diff(starts, prepend=-1) > 0]
    ends = np.append(starts[1:], limits[-1:]) if len(starts) else starts
    counts = np.diff(np.searchsorted(starts, limits))
    return Pieces(joined, starts, ends), counts
