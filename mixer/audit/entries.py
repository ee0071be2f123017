"""What the Merkle tree of a file is made of: one entry a row, over all that the row says.

An entry of `messages` is the place (see `fluxrig.evidence.place_bytes`) and the canonical bytes behind it;
the other columns follow from these. An entry of `quarantine` is the CBOR array of its columns. Derived tables
have no tree: they follow from `messages` and are made again to check them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pyarrow as pa

from fluxrig.cbor.encoder import encode_item
from fluxrig.evidence import Place, leaf_hash
from mixer.audit.columns import PLACE
from mixer.audit.tables import MESSAGES, QUARANTINE, Table

SIZE: Final = 32
"""Bytes of one leaf hash."""

_ARRAY: Final = b"\x85"
_QUARANTINE: Final = tuple(QUARANTINE.schema.names)


def leaves_of(table: Table, columns: Mapping[str, pa.Array]) -> list[bytes]:
    """Give the leaf hashes of the rows of a table, in order; none of a derived one."""
    if table is MESSAGES:
        places = zip(*(_values(columns[name]) for name in PLACE), strict=True)
        return message_leaves(places, columns["cbor"].to_pylist())
    if table is QUARANTINE:
        cells = [_values(columns[name]) for name in _QUARANTINE]
        return [leaf_hash(encode_item(row, 2)) for row in zip(*cells, strict=True)]
    return []


def message_leaves(places: Iterable[Place], encoded: Iterable[bytes]) -> list[bytes]:
    """Give the leaf hashes of messages; those that came together share all of their place but the number."""
    hashes: list[bytes] = []
    before: list[Any] | None = None
    start = b""
    for (*parcel, number), data in zip(places, encoded, strict=True):
        if parcel != before:
            start, before = _ARRAY + b"".join(encode_item(part, 1) for part in parcel), parcel
        hashes.append(leaf_hash(start + encode_item(number, 1) + data))
    return hashes


def _values(column: pa.Array) -> list[Any]:
    kind = pa.int64() if pa.types.is_timestamp(column.type) else column.type
    return column.cast(kind).to_pylist()  # type: ignore[no-any-return]
