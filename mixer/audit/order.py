"""The order of the rows in a file: by text columns, then by time; rows that are alike stay as they came."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LONG: Final = 64
"""Rows, on average, from which on runs of rows that belong together are moved whole."""


def in_order(table: pa.Table, names: tuple[str, ...], time: str) -> pa.Table:
    """Sort a table by text columns and a time, those without a time last.

    What is written is mostly in runs of one asset and tag, each in the order of time: then runs are moved.
    """
    if table.num_rows < 2 or not names:
        return table
    key, times = _key(table, names), _times(table[time])
    begins = np.flatnonzero(np.diff(key, prepend=-1))
    if table.num_rows >= _LONG * len(begins):
        ends = np.append(begins[1:], table.num_rows)
        runs = np.argsort(key[begins], kind="stable")
        if _ascending(key, times, begins[runs], ends[runs]):
            slices = zip(begins[runs].tolist(), ends[runs].tolist(), strict=True)
            return pa.concat_tables([table.slice(begin, end - begin) for begin, end in slices])
    return table.take(pa.array(np.lexsort((times, key))))


def _key(table: pa.Table, names: tuple[str, ...]) -> Any:
    """Give one number a row, in the order of the text columns."""
    key = np.zeros(table.num_rows, np.int64)
    for name in names:
        chunks = table[name].dictionary_encode().unify_dictionaries().chunks
        ranks = pc.rank(chunks[0].dictionary, tiebreaker="dense").to_numpy().astype(np.int64)
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunks])
        key = key * (len(ranks) + 1) + ranks[codes]
    return key


def _times(column: pa.ChunkedArray) -> Any:
    last = (1 << 63) - 1
    return column.cast(pa.int64()).fill_null(last).to_numpy()


def _ascending(key: Any, times: Any, begins: Any, ends: Any) -> bool:
    """Tell whether the runs, one after another, are in the order of time for each key."""
    rising = np.diff(times) >= 0
    rising[begins[begins > 0] - 1] = True
    joints = (key[begins[1:]] != key[begins[:-1]]) | (times[begins[1:]] >= times[ends[:-1] - 1])
    return bool(rising.all() and joints.all())
