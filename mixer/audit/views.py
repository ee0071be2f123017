"""The views that SQL sees: those of a query, and those of `views.sql` for plain DuckDB in the folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from mixer.audit.tables import TABLES, Table

NAME: Final = "views.sql"
_HEAD: Final = """\
-- The tables of this audit folder, for plain DuckDB:  cd audit && duckdb -init views.sql
-- Written by the Mixer; tables that have no file yet are left out. Times are in UTC.
SET TimeZone = 'UTC';
"""


def view(table: Table, source: str) -> str:
    """Give the statement that makes the view of a table from `source`, an argument of read_parquet."""
    return (
        f"CREATE OR REPLACE VIEW {table.name} AS SELECT {_columns(table)}, project, date"  # noqa: S608 - names are ours
        f" FROM read_parquet({source}, hive_partitioning = true,"
        " hive_types = {'project': VARCHAR, 'date': DATE})"
    )


def script(tables: Iterable[str]) -> str:
    """Give `views.sql` for the tables that have files."""
    views = (view(table, f"'{name}/*/*/*.parquet'") for name, table in TABLES.items() if name in tables)
    return _HEAD + "".join(f"{one};\n" for one in views)


def _columns(table: Table) -> str:
    return ", ".join(
        f'"{field.name}"::TIMESTAMP_NS AS "{field.name}"'
        if pa.types.is_timestamp(field.type)
        else f'"{field.name}"'
        for field in table.schema
    )
