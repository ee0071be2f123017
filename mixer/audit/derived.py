"""The tables that follow from the messages: what makes their rows, and of which schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import pyarrow as pa

from fluxrig.message import TAGS
from mixer.audit.bulk.decode import Decoded
from mixer.audit.columns import Columns
from mixer.audit.events import ANOMALY, TRANSACTION, anomalies, transactions
from mixer.audit.samples import samples
from mixer.audit.tables import ANOMALIES, SAMPLES, TRANSACTIONS, Table


class Derived(NamedTuple):
    """One such table. `make` takes messages and their columns."""

    table: Table
    schema: str
    make: Callable[[Decoded, Columns], Iterable[pa.RecordBatch]]


DERIVED: Final = (
    Derived(SAMPLES, TAGS, samples),
    Derived(TRANSACTIONS, TRANSACTION, transactions),
    Derived(ANOMALIES, ANOMALY, anomalies),
)


EVENTS: Final = frozenset({TRANSACTION, ANOMALY})
"""Schemas whose tables are made from the fields of single messages."""


def derived(decoded: Decoded, columns: Columns) -> Iterator[tuple[Table, pa.RecordBatch]]:
    """Make the rows of each table that has some; `parquet.arrange` gives them their order."""
    schemas = {group.fields["schema"] for group in decoded.groups}
    schemas |= {one["schema"] for one in decoded.fields.values()}
    for one in DERIVED:
        if one.schema in schemas:
            yield from ((one.table, batch) for batch in one.make(decoded, columns))
