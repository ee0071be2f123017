"""The answer to a query as a file: CSV, JSON, Arrow or Parquet, written as the rows come."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fluxrig.errors import AuditError
from mixer.audit import output

FORMATS: Final = ("csv", "json", "arrow", "parquet")


def format_of(path: Path, given: str = "") -> str:
    """Give the format: as said, or as the name ends. Raises AuditError."""
    found = given or path.suffix.removeprefix(".").lower()
    if found not in FORMATS:
        raise AuditError(
            f"{found!r} is no format of export; choose one of {', '.join(FORMATS)} with --format"
        )
    return found


def export(reader: pa.RecordBatchReader, path: Path, kind: str) -> int:
    """Write the rows, whole or not at all; give how many."""
    draft = path.with_name(path.name + ".part")
    counted = _Counted(reader)
    try:
        if kind in ("csv", "json"):
            with draft.open("w", encoding="utf-8", newline="") as text:
                write = output.write_csv if kind == "csv" else output.write_json
                write(counted.reader, text)
        elif kind == "arrow":
            with pa.ipc.new_file(draft, reader.schema) as arrow:
                for batch in counted.reader:
                    arrow.write_batch(batch)
        else:
            with pq.ParquetWriter(draft, reader.schema, compression="zstd") as parquet:
                for batch in counted.reader:
                    parquet.write_batch(batch)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return counted.rows


class _Counted:
    """A reader that counts its rows."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self.rows = 0
        self._source = reader
        self.reader = pa.RecordBatchReader.from_batches(reader.schema, map(self._count, reader))

    def _count(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.rows += batch.num_rows
        return batch
