"""Where an audit store is read from: a folder, or a bucket by URL. Readers know nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

import duckdb

from mixer.audit.bucket import Bucket
from mixer.audit.local import Local
from mixer.audit.manifest import FileEntry
from mixer.audit.state import State
from mixer.audit.tables import Table

Place: TypeAlias = Path | str
"""A folder, or a URL such as `s3://bucket/prefix`."""


class Source(Protocol):
    """What a reader may ask of a store."""

    manifest: str
    """What its manifest is called in messages."""

    def exists(self) -> bool: ...

    def checkpoint(self) -> bytes | None: ...

    def head(self) -> bytes | None: ...

    def follows(self, state: State) -> bool:
        """Tell whether a checkpoint is one of this manifest, as far as that is quickly told."""

    def lines(self, state: State | None = None) -> Iterator[bytes]:
        """Give the lines of the manifest behind a state, or all; the last may be torn."""

    def read(self, path: str) -> bytes:
        """Give a file of the store whole. Raises FileNotFoundError, or OSError when the store is away."""

    def paths(self) -> Iterator[str]:
        """Give the paths of the Parquet files that are in their places."""

    def awaits(self, path: str, state: State) -> bool:
        """Tell whether a file that no line names may be one whose line is still to come."""

    def reading(self) -> AbstractContextManager[None]:
        """Keep files that are read from being removed meanwhile; what is written goes on."""

    def scan(
        self,
        db: duckdb.DuckDBPyConnection,
        table: Table,
        files: Sequence[FileEntry],
        scratch: Path,
        *,
        hours: bool,
    ) -> str:
        """Give what SQL reads a table from; `hours` tells whether they are partitions of the store.

        `scratch` is a folder for what has to be made up.
        """


def source(place: Place) -> Source:
    """Give the source at a place. Raises AuditError for a URL that can't be."""
    if isinstance(place, str) and "://" in place:
        return Bucket(place)
    return Local(Path(place))
