"""Decode many messages: those of one layout together, each other one by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from fluxrig.codec import decode_strict
from fluxrig.errors import CborError
from mixer.audit.bulk.cells import Cell, cells
from mixer.audit.bulk.layout import Layout, learn
from mixer.audit.bulk.pieces import Ints, Pieces
from mixer.audit.bulk.walk import Match, walk

LEAST_ROWS: Final = 64
"""Fewer than that are sooner decoded one by one."""
_MISSES: Final = 32
"""Layouts that too few messages follow, after which all that is left is decoded one by one."""


class Group(NamedTuple):
    """Messages of one layout: which rows, what is the same in all, the slots, and the tags of `data`."""

    rows: Ints
    fields: dict[str, Any]
    slots: dict[str, Any]
    cells: list[Cell]


@dataclass(slots=True)
class Decoded:
    """Each message is in one of these, by its row."""

    groups: list[Group] = field(default_factory=list)
    fields: dict[int, dict[str, Any]] = field(default_factory=dict)
    bad: list[int] = field(default_factory=list)
    """What `decode_strict` refuses."""


def decode(pieces: Pieces, apart: frozenset[str] = frozenset(), least_rows: int = LEAST_ROWS) -> Decoded:
    """Decode all; messages whose schema is in `apart` are given as fields."""
    decoded, left, misses = Decoded(), np.arange(len(pieces)), 0
    while len(left) >= least_rows and misses < _MISSES:
        row = int(left[0])
        fields = _one(pieces, row, decoded)
        layout = None if fields is None or fields["schema"] in apart else learn(fields, pieces[row])
        if layout is None:
            left = left[1:]
            continue
        match = walk(pieces, layout, left)
        if len(match.rows) < least_rows or match.rows[0] != row:
            misses += 1
            left = left[1:]
            continue
        del decoded.fields[row]
        decoded.groups.append(_group(layout, match))
        left = np.setdiff1d(left, match.rows, assume_unique=True)
    for row in left.tolist():
        _one(pieces, row, decoded)
    return decoded


def _group(layout: Layout, match: Match) -> Group:
    slots = {slot.name: values for slot, values in match.slots if not slot.in_data}
    return Group(match.rows, layout.fields, slots, [*cells(layout, match)])


def _one(pieces: Pieces, row: int, decoded: Decoded) -> dict[str, Any] | None:
    """Decode one message by itself; None when it is none."""
    try:
        fields = decode_strict(pieces[row]).fields
    except (CborError, TypeError):
        decoded.bad.append(row)
        return None
    decoded.fields[row] = fields
    return fields
