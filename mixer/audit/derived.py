"""The tables that follow from the messages: what makes their rows, and of which schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

import pyarrow as pa

from fluxrig.message import TAGS
from mixer.audit.bulk.decode import Decoded
from mixer.audit.columns import Columns
from mixer.audit.events import TABLES_OF_EVENTS, events
from mixer.audit.samples import samples
from mixer.audit.tables import SAMPLES, Table


class Derived(NamedTuple):
    """One such table. `make` takes messages and their columns."""

    table: Table
    schema: str
    make: Callable[[Decoded, Columns], Iterable[pa.RecordBatch]]


DERIVED: Final = (
    Derived(SAMPLES, TAGS, samples),
    *(Derived(event.table, event.schema, partial(events, event)) for event in TABLES_OF_EVENTS),
)

EVENTS: Final = frozenset(event.schema for event in TABLES_OF_EVENTS)
"""Schemas whose tables are made from the fields of single messages."""


def derived(decoded: Decoded, columns: Columns) -> Iterator[tuple[Table, pa.RecordBatch]]:
    """Make the rows of each table that has some; `parquet.arrange` gives them their order."""
    schemas = {group.fields["schema"] for group in decoded.groups}
    schemas |= {one["schema"] for one in decoded.fields.values()}
    for one in DERIVED:
        if one.schema in schemas:
            yield from ((one.table, batch) for batch in one.make(decoded, columns))
