"""The values of one tag in many messages, as the audit's tables show them: the columns' form of `values`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.audit.bulk.layout import Kind, Layout
from mixer.audit.bulk.pieces import Bytes
from mixer.audit.bulk.walk import Match
from mixer.audit.tables import SAMPLES
from mixer.audit.values import Sample, json_text, sample

_PLAIN: Final = 1e-4, 1e9
"""Between these Arrow and Python write the same digits of a float, and no exponent."""
_HEX: Final = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
_TYPES: Final = {name: SAMPLES.schema.field(name).type for name in Sample._fields}
_DASHED: Final = {16: (8, 12, 16, 20), 24: (32,)}
"""Before which hex digits of an id (RFC 9562 §4) and of a trace a dash is written."""


class Cell(NamedTuple):
    """The values of one tag: as JSON, an array or one text for all, and as the columns of `Sample`."""

    tag: str
    json: Any
    columns: dict[str, pa.Array]


def cells(layout: Layout, match: Match) -> Iterator[Cell]:
    """Give the tags of some messages in the order of their `data`."""
    rows = len(match.rows)
    nulls = {name: pa.nulls(rows, kind) for name, kind in _TYPES.items()}
    held = {slot.name: (slot.kind, values) for slot, values in match.slots if slot.in_data}
    for tag, value in layout.fields.get("data", {}).items():
        if tag in held:
            kind, values = held[tag]
            json, given = _OF_KIND[kind](values)
        else:
            json, given = json_text(value), _constant(sample(value), rows)
        yield Cell(tag, json, nulls | given)


def hex_texts(values: Bytes) -> pa.Array:
    """Give bytes of shape (rows, 16 or 24) as text: ids in the form of RFC 9562, traces as two numbers."""
    rows, size = values.shape
    digits = _HEX[values].view(np.uint8).reshape(rows, 2 * size)
    texts = np.insert(digits, _DASHED[size], ord("-"), axis=1)
    return _fixed_texts(texts)


def times(values: Any, last: int) -> pa.Array:
    """Give nanoseconds since the Unix epoch as times, null after the `last` that a column holds."""
    late = values > np.uint64(last)
    return pa.array(values.view(np.int64), pa.int64(), mask=late if late.any() else None).cast(
        SAMPLES.schema.field("ts").type
    )


def _fixed_texts(texts: Bytes) -> pa.Array:
    rows, size = texts.shape
    offsets = np.arange(0, (rows + 1) * size, size, dtype=np.int32)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(texts)))


def _constant(one: Sample, rows: int) -> dict[str, pa.Array]:
    return {
        name: pa.repeat(pa.scalar(value, _TYPES[name]), rows)
        for name, value in one._asdict().items()
        if value is not None
    }


def _ints(values: Any) -> tuple[Any, dict[str, pa.Array]]:
    exact = pa.array(values)
    return exact.cast(pa.string()), {"value": pa.array(values.astype(np.float64)), "value_int": exact}


def _bools(values: Any) -> tuple[Any, dict[str, pa.Array]]:
    exact = pa.array(values)
    texts = pc.if_else(exact, "true", "false")
    return texts, {"value": pa.array(values.astype(np.float64)), "value_bool": exact}


def _texts(values: Any) -> tuple[Any, dict[str, pa.Array]]:
    coded = values.dictionary_encode()
    quoted = pa.array(list(map(json_text, coded.dictionary.to_pylist())), pa.string())
    return quoted.take(coded.indices), {"text": values}


def _floats(values: Any) -> tuple[Any, dict[str, pa.Array]]:
    coded = pa.array(values.view(np.int64)).dictionary_encode()  # bit by bit: 0.0 is not -0.0
    unique = coded.dictionary.to_numpy().view(np.float64)
    size = np.abs(unique)
    plain = (size >= _PLAIN[0]) & (size < _PLAIN[1])
    texts = pa.array(unique).cast(pa.string())
    whole = pa.array(plain & (np.where(plain, unique, 0.5) % 1 == 0))
    texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    others = pa.array(list(map(json_text, unique[~plain].tolist())), pa.string())
    texts = pc.replace_with_mask(texts, pa.array(~plain), others)
    return texts.take(coded.indices), {"value": pa.array(values)}


_OF_KIND: Final[dict[Kind, Callable[[Any], tuple[Any, dict[str, pa.Array]]]]] = {
    Kind.INT: _ints,
    Kind.BOOL: _bools,
    Kind.TEXT: _texts,
    Kind.FLOAT: _floats,
}
