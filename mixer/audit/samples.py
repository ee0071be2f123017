"""The table `samples`: a row for each tag of each `fluxrig.tags/1`, in the order of asset, tag and time.

In that order one tag over one hour lies in one place of a file, and all else in it is skipped by statistics.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fluxrig.message import TAGS
from mixer.audit.columns import Columns, Fields
from mixer.audit.tables import SAMPLES
from mixer.audit.values import Sample, sample

_NONE: Final[dict[str, str]] = {}


def samples(fields: Fields, columns: Columns) -> pa.RecordBatch:
    """Make the rows of some messages, in their order; `columns` are those of the messages."""
    rows: list[int] = []
    tags: list[str] = []
    values: list[Any] = []
    notes: list[tuple[str | None, str | None]] = []
    cache = _Notes()
    for row, one in enumerate(fields):
        if one["schema"] == TAGS and (data := one.get("data")):
            rows.extend(repeat(row, len(data)))
            tags.extend(data)
            values.extend(data.values())
            notes.extend(cache[tuple(data), tuple(one.get("meta", _NONE).items())])
    return _batch(rows, tags, values, notes, columns)


def _batch(
    rows: list[int],
    tags: list[str],
    values: list[Any],
    notes: list[tuple[str | None, str | None]],
    columns: Columns,
) -> pa.RecordBatch:
    taken = pa.array(rows, pa.int32())
    arrays = {name: columns[name].take(taken) for name in ("ts", "uns", "rack", "id", "stream_seq")}
    arrays["tag"] = pa.array(tags, pa.string())
    arrays |= _typed(values)
    default = pc.if_else(pa.array([value is None for value in values], pa.bool_()), "bad", "good")
    arrays["quality"] = pc.coalesce(pa.array([quality for quality, _ in notes], pa.string()), default)
    arrays["unit"] = pa.array([unit for _, unit in notes], pa.string())
    return pa.RecordBatch.from_arrays([arrays[name] for name in SAMPLES.schema.names], schema=SAMPLES.schema)


def _typed(values: list[Any]) -> Columns:
    """Give the value columns; a run of floats and texts needs no look at each."""
    cells = [Sample(value) if type(value) is float else sample(value) for value in values]
    return {
        name: pa.array([cell[place] for cell in cells], SAMPLES.schema.field(name).type)
        for place, name in enumerate(Sample._fields)
    }


class _Notes(dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], list[tuple[str | None, str | None]]]):
    """Quality and unit of each tag, as the message's `meta` has them, by its tags and `meta`."""

    def __missing__(
        self, key: tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
    ) -> list[tuple[str | None, str | None]]:
        tags, meta = key[0], dict(key[1])
        self[key] = found = [(meta.get(f"quality.{tag}") or None, meta.get(f"unit.{tag}")) for tag in tags]
        return found


def in_order(table: pa.Table, names: tuple[str, ...], time: str) -> pa.Table:
    """Sort a table by text columns and a time; rows that are alike keep their order."""
    if table.num_rows < 2 or not names:
        return table
    key = pa.chunked_array(
        [pa.array([0], pa.int64()).take(pa.nulls(table.num_rows, pa.int32()).fill_null(0))]
    )
    for name in names:
        coded = table[name].combine_chunks().dictionary_encode()
        ranks = pc.rank(coded.dictionary, tiebreaker="dense").cast(pa.int64())
        key = pc.add(pc.multiply(key, len(ranks) + 1), ranks.take(coded.indices))
    keys = pa.table({"key": key, "time": table[time]})
    return table.take(pc.sort_indices(keys, [("key", "ascending"), ("time", "ascending")]))
