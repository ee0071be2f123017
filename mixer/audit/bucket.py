"""An audit store in an S3-compatible bucket, as readers see it, through pyarrow's filesystem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from fluxrig.errors import AuditError
from mixer.audit.manifest import HEAD, FileEntry
from mixer.audit.state import CHECKPOINT, State
from mixer.audit.tables import TABLES, Table, hive

SEGMENTS: Final = "manifest"
"""The folder of the objects that the manifest is cut into; each is named by the number of its first line."""
_CONNECT_S: Final = 5.0
_OPTIONS: Final = ("region", "scheme", "endpoint_override")


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says: `s3://bucket/prefix?region=…&scheme=http&endpoint_override=host:port`, as pyarrow has.

    Credentials come from where AWS's tools take them: the environment, `~/.aws`, the machine's role. A URL is
    seen by others (`ps`, a shell's history), so that one with credentials is refused.
    """

    bucket: str
    prefix: str
    options: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL. Raises AuditError that says what is wrong with it."""
        parts = urlsplit(url)
        options = tuple(parse_qsl(parts.query, keep_blank_values=True))
        if parts.scheme != "s3" or not parts.netloc:
            raise AuditError(f"{parts.scheme}://{parts.hostname} is no s3://bucket/prefix")
        if parts.username or parts.password:
            raise AuditError(
                "credentials don't belong into the URL of a bucket: set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials"
            )
        if unknown := [name for name, _ in options if name not in _OPTIONS]:
            raise AuditError(
                f"{unknown[0]!r} is no option of a bucket's URL; there are {', '.join(_OPTIONS)}"
            )
        return cls(parts.netloc, parts.path.strip("/"), options)

    def key(self, path: str) -> str:
        """Give the key of an object."""
        return f"{self.prefix}/{path}" if self.prefix else path

    @property
    def endpoint(self) -> str | None:
        """The URL of the service, if it is not AWS's."""
        options = dict(self.options)
        host = options.get("endpoint_override")
        if host is None or "://" in host:
            return host
        return f"{options.get('scheme', 'https')}://{host}"

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


class Bucket:
    """A prefix in a bucket. It needs no right but to get and to list."""

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)
        self.manifest = f"{self.address}/{SEGMENTS}"

    def __str__(self) -> str:
        return str(self.address)

    @cached_property
    def _s3(self) -> fs.S3FileSystem:
        options: dict[str, Any] = dict(self.address.options)
        return fs.S3FileSystem(connect_timeout=_CONNECT_S, request_timeout=4 * _CONNECT_S, **options)

    def _path(self, path: str) -> str:
        return f"{self.address.bucket}/{self.address.key(path)}"

    def exists(self) -> bool:
        return self._small(CHECKPOINT) is not None or self._small(segment_path(1)) is not None

    def checkpoint(self) -> bytes | None:
        return self._small(CHECKPOINT)

    def head(self) -> bytes | None:
        return self._small(HEAD)

    def _small(self, path: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return self.read(path)
        return None

    def follows(self, state: State) -> bool:
        return True  # the next segment's chain tells

    def lines(self, state: State | None = None) -> Iterator[bytes]:
        number = state.number if state else 0
        while (segment := self._small(segment_path(number + 1))) is not None:
            lines = segment.splitlines(keepends=True)
            yield from lines
            number += len(lines)

    def read(self, path: str) -> bytes:
        with _told(self), self._s3.open_input_file(self._path(path)) as file:
            return bytes(file.read())

    def paths(self) -> Iterator[str]:
        start = len(self._path(""))
        for table in TABLES:
            with _told(self):
                found = self._s3.get_file_info(
                    fs.FileSelector(self._path(table), allow_not_found=True, recursive=True)
                )
            yield from sorted(one.path[start:] for one in found if one.path.endswith(".parquet"))

    def awaits(self, path: str, state: State) -> bool:
        """A file is uploaded before its line, whose number begins its name."""
        number = path.rpartition("/")[2].partition("-")[0]
        return number.isdecimal() and int(number) > state.number

    @contextmanager
    def reading(self) -> Iterator[None]:
        yield  # nothing holds the Mixer off: a query whose files are merged meanwhile fails, and says so

    def scan(
        self,
        db: duckdb.DuckDBPyConnection,
        table: Table,
        files: Sequence[FileEntry],
        scratch: Path,
        *,
        hours: bool,
    ) -> str:
        """Have DuckDB read through a dataset of pyarrow; partitions and most filters are handed down."""
        partitions = hive(hours=hours)
        dataset = ds.dataset(
            [self._path(file.path) for file in files],
            filesystem=self._s3,
            format="parquet",
            schema=pa.schema([*table.schema, *partitions]),
            partitioning=ds.partitioning(partitions, flavor="hive"),
            partition_base_dir=self._path(table.name),
        )
        name = f"stored_{table.name}"
        db.register(name, dataset)
        return name


def segment_path(first: int) -> str:
    """Give where the lines from number `first` on are."""
    return f"{SEGMENTS}/{first:010d}.jsonl"


@contextmanager
def _told(bucket: Bucket) -> Iterator[None]:
    """Name the bucket in what goes wrong with it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AuditError(f"{bucket} can't be read: {' '.join(str(error).split())[:300]}") from None
