"""The table `samples`: a row for each tag of each `fluxrig.tags/1`, in the order of asset, tag and time.

In that order one tag over one hour lies in one place of a file, and all else in it is skipped by statistics.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fluxrig.message import TAGS
from mixer.audit.columns import Columns, Fields
from mixer.audit.tables import SAMPLES
from mixer.audit.values import Sample, sample

_NONE: Final[dict[str, str]] = {}
_VALUES: Final = Sample._fields
Note = tuple[str | None, str | None]
"""Quality and unit, as far as they are said."""
_KINDS: Final = {name: SAMPLES.schema.field(name).type for name in _VALUES}


def samples(fields: Fields, columns: Columns) -> pa.RecordBatch:
    """Make the rows of some messages, in their order; `columns` are those of the messages.

    Messages with the same tags are taken together, tag by tag: the values of one tag are of one type.
    """
    shapes: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, one in enumerate(fields):
        if one["schema"] == TAGS and (data := one.get("data")):
            shapes[tuple(data)].append(row)
    notes = _Notes()
    parts = [_of_shape(tags, rows, fields, notes) for tags, rows in shapes.items()]
    made = pa.Table.from_batches(list(chain.from_iterable(parts)), _PART).combine_chunks()
    made = made.take(pc.sort_indices(made["row"]))
    taken = made["row"].combine_chunks()
    arrays = {name: columns[name].take(taken) for name in ("ts", "uns", "rack", "id", "stream_seq")}
    arrays |= {name: made[name].combine_chunks() for name in made.column_names}
    return pa.RecordBatch.from_arrays([arrays[name] for name in SAMPLES.schema.names], schema=SAMPLES.schema)


_PART: Final = pa.schema(
    [
        ("row", pa.int32()),
        *((name, SAMPLES.schema.field(name).type) for name in ("tag", *_VALUES, "quality", "unit")),
    ]
)


def _of_shape(tags: tuple[str, ...], rows: list[int], fields: Fields, notes: _Notes) -> list[pa.RecordBatch]:
    """Make the rows of messages with the same tags, tag by tag."""
    numbers = pa.array(rows, pa.int32())
    values = zip(*(fields[row]["data"].values() for row in rows), strict=True)
    said = zip(*(notes[tags, tuple(fields[row].get("meta", _NONE).items())] for row in rows), strict=True)
    return [
        pa.RecordBatch.from_arrays(
            [numbers, pa.repeat(tag, len(rows)), *_typed(cells).values(), *_noted(cells, on)], schema=_PART
        )
        for tag, cells, on in zip(tags, values, said, strict=True)
    ]


def _typed(values: Sequence[Any]) -> Columns:
    """Give the value columns; where all values are floats or texts, without a look at each."""
    found = set(map(type, values))
    if found <= {float} or found <= {str}:
        name = "value" if found <= {float} else "text"
        return {
            other: pa.array(values, kind) if other == name else pa.nulls(len(values), kind)
            for other, kind in _KINDS.items()
        }
    cells = zip(*map(sample, values), strict=True)
    return {name: pa.array(column, _KINDS[name]) for name, column in zip(_VALUES, cells, strict=True)}


def _noted(values: Sequence[Any], notes: Sequence[Note]) -> tuple[pa.Array, pa.Array]:
    """Give the columns quality and unit."""
    if len(set(map(id, notes))) == 1 and None not in values:
        quality, unit = notes[0]
        return pa.repeat(quality or "good", len(values)), pa.repeat(pa.scalar(unit, pa.string()), len(values))
    default = ("bad" if value is None else "good" for value in values)
    qualities = [quality or other for (quality, _), other in zip(notes, default, strict=True)]
    return pa.array(qualities, pa.string()), pa.array([unit for _, unit in notes], pa.string())


class _Notes(dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], list[Note]]):
    """Quality and unit of each tag, as the message's `meta` has them, by its tags and `meta`."""

    def __missing__(self, key: tuple[tuple[str, ...], tuple[tuple[str, str], ...]]) -> list[Note]:
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
