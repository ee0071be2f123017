"""Tables to the bytes of Parquet files."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.audit.order import in_order
from mixer.audit.tables import Table

ROW_GROUP: Final = 1 << 17
_SMALL_ROW_GROUP: Final = 1 << 15
"""Of tables in order: one tag over one hour is a few thousand rows, and a row group is what is read."""


def arrange(table: Table, batches: list[pa.RecordBatch]) -> pa.Table:
    """Give the rows of a file in the order that they have there."""
    rows = pa.Table.from_batches(batches, table.schema)
    return in_order(rows, table.order, "ts") if table.order else rows


def encode(table: Table, rows: pa.Table) -> pa.Buffer:
    """Give the Parquet file of some rows."""
    sink = pa.BufferOutputStream()
    plain: dict[str, Any] = dict(table.encodings)
    pq.write_table(
        rows,
        sink,
        row_group_size=_SMALL_ROW_GROUP if table.order else ROW_GROUP,
        compression="zstd",
        use_dictionary=list(table.repeating),
        column_encoding=plain or None,
        write_statistics=[name for name in table.schema.names if name not in table.bulk],
        bloom_filter_options={
            name: {"ndv": min(rows.num_rows, ROW_GROUP), "fpp": 0.05} for name in table.sought
        }
        or None,
        write_page_checksum=True,
        write_page_index=bool(table.order),
    )
    return sink.getvalue()
