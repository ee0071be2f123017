"""The tables that follow from the messages: what makes their rows, and of which schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import pyarrow as pa

from fluxrig.message import TAGS
from mixer.audit.columns import Columns, Fields
from mixer.audit.events import ANOMALY, TRANSACTION, anomalies, transactions
from mixer.audit.samples import samples
from mixer.audit.tables import ANOMALIES, SAMPLES, TRANSACTIONS, Table


class Derived(NamedTuple):
    """One such table. `make` takes messages and their columns."""

    table: Table
    schema: str
    make: Callable[[Fields, Columns], pa.RecordBatch]


DERIVED: Final = (
    Derived(SAMPLES, TAGS, samples),
    Derived(TRANSACTIONS, TRANSACTION, transactions),
    Derived(ANOMALIES, ANOMALY, anomalies),
)


def derived(fields: Fields, columns: Columns) -> Iterator[tuple[Table, pa.RecordBatch]]:
    """Make the rows of each table that has some, in the order of the messages."""
    schemas = {one["schema"] for one in fields}
    for one in DERIVED:
        if one.schema in schemas:
            yield one.table, one.make(fields, columns)
