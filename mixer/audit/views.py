"""The views that SQL sees: those of a query, and those of `views.sql` for plain DuckDB in the folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from mixer.audit.tables import TABLES, Table

NAME: Final = "views.sql"
_HEAD: Final = """\
-- The tables of this audit store, for plain DuckDB:  cd audit && duckdb -init views.sql
-- Written by the Mixer; tables that have no file yet are left out. Times are in UTC.
SET TimeZone = 'UTC';
"""


def view(table: Table, source: str, *, hours: bool) -> str:
    """Give the statement that makes the view of a table from `source`: all of its columns, times as UTC.

    DuckDB can't calculate with TIMESTAMPTZ_NS, which is what the files have.
    """
    times = ", ".join(
        f'"{field.name}"::TIMESTAMP_NS AS "{field.name}"'
        for field in table.schema
        if pa.types.is_timestamp(field.type)
    )
    hive = "project, date, hour" if hours else "project, date"
    columns = f"* EXCLUDE ({hive}) REPLACE ({times}), {hive}"
    return f"CREATE OR REPLACE VIEW {table.name} AS SELECT {columns} FROM {source}"  # noqa: S608 - names are ours


def parquet(files: str, *, hours: bool, by_name: bool) -> str:
    """Give the call that reads Parquet files in hive partitions; `files` is SQL: a glob or a list."""
    kinds = "'project': VARCHAR, 'date': DATE" + (", 'hour': INTEGER" if hours else "")
    union = ", union_by_name = true" if by_name else ""
    return f"read_parquet({files}, hive_partitioning = true, hive_types = {{{kinds}}}{union})"


def _everywhere(folder: str, *, hours: bool) -> str:
    return parquet(f"'{folder}/{'*/' * (2 + hours)}*.parquet'", hours=hours, by_name=True)


def script(tables: Mapping[str, bool], root: str = "") -> str:
    """Give `views.sql` for the tables that have files, each with whether hours are apart.

    `root` is what comes before a table's name, for a store in a bucket.
    """
    views = (
        view(table, _everywhere(f"{root}{name}", hours=hours), hours=hours)
        for name, table in TABLES.items()
        if (hours := tables.get(name)) is not None
    )
    return _HEAD + "".join(f"{one};\n" for one in views)
