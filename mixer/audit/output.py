"""The rows of a query as JSON, CSV or a table. JSON and CSV are written as the rows come."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, TextIO

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixer.audit.values import json_text

_WIDE = 100_000


def write_json(reader: pa.RecordBatchReader, out: TextIO) -> None:
    """Write one JSON array of objects, an object a line. Times are RFC 3339 in UTC, bytes hex."""
    names = [json_text(name) for name in reader.schema.names]
    between = "[\n"
    for row in _rows(reader, json_times=True):
        cells = ", ".join(f"{name}: {json_text(cell)}" for name, cell in zip(names, row, strict=True))
        out.write(f"{between}{{{cells}}}")
        between = ",\n"
    out.write("[]\n" if between == "[\n" else "\n]\n")


def write_csv(reader: pa.RecordBatchReader, out: TextIO) -> None:
    """Write RFC 4180 with a header; null is empty."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(reader.schema.names)
    for row in _rows(reader):
        writer.writerow(["" if cell is None else _text(cell) for cell in row])


def print_table(reader: pa.RecordBatchReader, console: Console, max_rows: int) -> bool:
    """Print the first rows as a table; give whether there were more."""
    table = Table(header_style="bold")
    for field in reader.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(Text(_shown(field.name)), justify="right" if numeric else "left", overflow="fold")
    rows = _rows(reader)
    for row in islice(rows, max_rows):
        table.add_row(*(Text("" if cell is None else _text(cell)) for cell in row))
    console.print(table, width=None if console.is_terminal else _WIDE)
    return next(rows, None) is not None


def _rows(reader: pa.RecordBatchReader, *, json_times: bool = False) -> Iterator[tuple[Any, ...]]:
    for batch in reader:
        yield from zip(*(_cells(column, json_times) for column in batch.columns), strict=True)


def _cells(column: pa.Array, json_times: bool) -> list[Any]:
    """Give the cells of a column; nanoseconds have no Python type, so times become text."""
    if not pa.types.is_timestamp(column.type):
        return [_cell(cell) for cell in column.to_pylist()]
    texts = column.cast(pa.string()).to_pylist()
    if not json_times:
        return texts  # type: ignore[no-any-return]
    return [None if text is None else f"{text.replace(' ', 'T').removesuffix('Z')}Z" for text in texts]


def _cell(cell: Any) -> Any:
    if isinstance(cell, Decimal):
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    return cell


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.hex()
    text = json_text(cell) if isinstance(cell, list | dict) else str(cell)
    return text if text.isprintable() else _shown(text)


def _shown(text: str) -> str:
    """Show what is not printable: a value from the field must not drive the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
