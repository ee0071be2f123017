"""The table `samples`: a row for each tag of each `fluxrig.tags/1`, in the order of asset, tag and time.

In that order one tag over one hour lies in one place of a file, and all else in it is skipped by statistics.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fluxrig.message import TAGS
from mixer.audit.bulk.decode import Decoded, Group
from mixer.audit.columns import Columns, Fields
from mixer.audit.tables import SAMPLES
from mixer.audit.values import Sample, sample

_NONE: Final[dict[str, str]] = {}
_VALUES: Final = Sample._fields
_SHARED: Final = ("ts", "uns", "rack", "id", "stream_seq")
Note = tuple[str | None, str | None]
"""Quality and unit, as far as they are said."""
_KINDS: Final = {name: SAMPLES.schema.field(name).type for name in (*_VALUES, "tag", "quality", "unit")}
_PART: Final = pa.schema([("row", pa.int64()), *_KINDS.items()])


def samples(decoded: Decoded, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Make the rows of some messages, tag by tag; `columns` are those of the messages.

    Messages of one layout share all columns but those of the value, so that nothing is copied.
    """
    tagged = [group for group in decoded.groups if group.fields["schema"] == TAGS]
    parts = [part for group in tagged for part in _of_group(group)]
    if len(decoded.groups) == 1 and not decoded.fields:
        shared = {name: columns[name] for name in _SHARED}
        yield from (_batch(shared | _named(part)) for part in parts)
        return
    parts += _of_fields(decoded.fields)
    made = pa.Table.from_batches(parts, _PART).combine_chunks()
    rows = made["row"].to_numpy()
    tags = made["tag"].combine_chunks().dictionary_encode().indices.to_numpy()
    assets = columns["uns"].dictionary_encode().indices.to_numpy()[rows]
    order = np.lexsort((rows, tags, assets))
    taken = pa.array(rows[order])
    shared = {name: columns[name].take(taken) for name in _SHARED}
    own = made.take(pa.array(order)).combine_chunks()
    yield from (_batch(shared | _named(batch)) for batch in own.to_batches())


def _batch(columns: Columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([columns[name] for name in SAMPLES.schema.names], schema=SAMPLES.schema)


def _named(batch: pa.RecordBatch) -> Columns:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _of_group(group: Group) -> Iterator[pa.RecordBatch]:
    """Make the rows of messages of one layout, tag by tag."""
    rows = pa.array(group.rows)
    notes = _notes([cell.tag for cell in group.cells], group.fields.get("meta", _NONE))
    known: dict[tuple[str, str | None], pa.Array] = {}
    for cell, (quality, unit) in zip(group.cells, notes, strict=True):
        value = group.fields["data"][cell.tag]
        said = {"tag": cell.tag, "quality": quality or ("bad" if value is None else "good"), "unit": unit}
        for name, text in said.items():
            if (name, text) not in known:
                known[name, text] = pa.repeat(pa.scalar(text, _KINDS[name]), len(rows))
        made = cell.columns | {name: known[name, text] for name, text in said.items()}
        yield pa.RecordBatch.from_arrays([rows, *(made[name] for name in _PART.names[1:])], schema=_PART)


def _of_fields(fields: Fields) -> Iterator[pa.RecordBatch]:
    """Make the rows of messages that were decoded one by one: those with the same tags together."""
    shapes: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, one in fields.items():
        if one["schema"] == TAGS and (data := one.get("data")):
            shapes[tuple(data)].append(row)
    known: dict[Any, list[Note]] = {}
    for tags, rows in shapes.items():
        yield from _of_shape(tags, rows, fields, known)


def _of_shape(
    tags: tuple[str, ...], rows: list[int], fields: Fields, known: dict[Any, list[Note]]
) -> Iterator[pa.RecordBatch]:
    numbers = pa.array(rows, pa.int64())
    values = zip(*(fields[row]["data"].values() for row in rows), strict=True)
    metas = [tuple(fields[row].get("meta", _NONE).items()) for row in rows]
    for meta in {*metas}:
        known[tags, meta] = _notes(tags, dict(meta))
    said = zip(*(known[tags, meta] for meta in metas), strict=True)
    for tag, cells, on in zip(tags, values, said, strict=True):
        made = _typed(cells) | {"tag": pa.repeat(tag, len(rows))} | _noted(cells, on)
        yield pa.RecordBatch.from_arrays([numbers, *(made[name] for name in _PART.names[1:])], schema=_PART)


def _typed(values: Sequence[Any]) -> Columns:
    """Give the value columns; where all values are floats or texts, without a look at each."""
    found = set(map(type, values))
    if found <= {float} or found <= {str}:
        name = "value" if found <= {float} else "text"
        return {
            other: pa.array(values, _KINDS[other]) if other == name else pa.nulls(len(values), _KINDS[other])
            for other in _VALUES
        }
    cells = zip(*map(sample, values), strict=True)
    return {name: pa.array(column, _KINDS[name]) for name, column in zip(_VALUES, cells, strict=True)}


def _noted(values: Sequence[Any], notes: Sequence[Note]) -> Columns:
    """Give the columns quality and unit."""
    default = ("bad" if value is None else "good" for value in values)
    qualities = [quality or other for (quality, _), other in zip(notes, default, strict=True)]
    return {
        "quality": pa.array(qualities, _KINDS["quality"]),
        "unit": pa.array([unit for _, unit in notes], _KINDS["unit"]),
    }


def _notes(tags: Sequence[str], meta: dict[str, str]) -> list[Note]:
    """Give quality and unit of each tag, as the message's `meta` has them."""
    return [(meta.get(f"quality.{tag}") or None, meta.get(f"unit.{tag}")) for tag in tags]
