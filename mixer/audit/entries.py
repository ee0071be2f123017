"""What the Merkle tree of a file is made of: one entry a row, over all that the row says.

An entry of `messages` is the place (see `fluxrig.evidence.place_bytes`) and the canonical bytes behind it;
the other columns follow from these. An entry of `quarantine` is the CBOR array of its columns. Derived tables
have no tree: they follow from `messages` and are made again to check them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from struct import Struct
from typing import Any, Final

import pyarrow as pa

from fluxrig.cbor.encoder import encode_item
from fluxrig.evidence import Place, leaf_hash
from fluxrig.evidence.merkle import LEAF
from mixer.audit.columns import PLACE
from mixer.audit.tables import MESSAGES, QUARANTINE, Table

SIZE: Final = 32
"""Bytes of one leaf hash."""

_ARRAY: Final = b"\x85"
_WIDE: Final = 1 << 16, 1 << 32
"""Between these, as nearly all are, a number is encoded as `_U32`: that needs no look at its type."""
_U32: Final = Struct(">BI").pack
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
    before: tuple[Any, ...] | None = None
    start = b""
    for place, data in zip(places, encoded, strict=True):
        number = place[4]
        if place[:4] != before:
            before = place[:4]
            start = LEAF + _ARRAY + b"".join([encode_item(part, 1) for part in before])
        if number is not None and _WIDE[0] <= number < _WIDE[1]:
            entry = start + _U32(0x1A, number) + data
        else:
            entry = start + encode_item(number, 1) + data
        hashes.append(sha256(entry).digest())
    return hashes


def _values(column: pa.Array) -> list[Any]:
    kind = pa.int64() if pa.types.is_timestamp(column.type) else column.type
    return column.cast(kind).to_pylist()  # type: ignore[no-any-return]
