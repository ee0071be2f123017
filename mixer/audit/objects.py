"""What the Mixer does to a bucket: put, put where nothing is, put in place of what it knows, get, delete.

Putting on a condition (If-None-Match, If-Match) is what makes two writers exact, and what pyarrow's
filesystem does not have; so writing goes through boto3.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, NamedTuple

from fluxrig.errors import AuditError
from mixer.audit.bucket import Address

_CONNECT_S: Final = 5.0
_READ_S: Final = 20.0
_TAKEN: Final = ("PreconditionFailed", "412")
_MISSING: Final = ("NoSuchKey", "404")
_AT_ONCE: Final = 1000


class Object(NamedTuple):
    data: bytes
    etag: str


class Objects:
    """The objects below a prefix. Each call is one attempt of bounded time; OSError when it failed."""

    def __init__(self, address: Address) -> None:
        """Raises AuditError when boto3 is not there or the address makes no sense to it."""
        try:
            import boto3  # noqa: PLC0415 - only who writes to a bucket needs it
            from botocore.config import Config  # noqa: PLC0415
            from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        except ImportError:
            raise AuditError("writing to a bucket needs boto3: pip install 'fluxrig[all]'") from None
        self.address = address
        self._refusals = ClientError
        self._failures = BotoCoreError
        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": 1},
            max_pool_connections=16,
        )
        region = dict(address.options).get("region")
        try:
            self._s3 = boto3.client("s3", region_name=region, endpoint_url=address.endpoint, config=config)
        except (BotoCoreError, ValueError) as error:
            raise AuditError(f"{address}: {_line(error)}") from None

    def put(self, path: str, data: bytes) -> None:
        """Store an object; the service checks its SHA-256."""
        with self._told(path):
            self._put(path, data)

    def create(self, path: str, data: bytes) -> str | None:
        """Store an object where none is, and give its ETag; None when there is one."""
        return self._conditional(path, data, IfNoneMatch="*")

    def replace(self, path: str, data: bytes, etag: str) -> str | None:
        """Store an object in place of the one with this ETag, and give the new one; None when it changed."""
        return self._conditional(path, data, IfMatch=etag)

    def _conditional(self, path: str, data: bytes, **condition: str) -> str | None:
        with self._told(path):
            try:
                return self._put(path, data, **condition)
            except self._refusals as error:
                if error.response["Error"]["Code"] in (*_TAKEN, *_MISSING):
                    return None
                raise

    def _put(self, path: str, data: bytes, **condition: str) -> str:
        digest = b64encode(sha256(data).digest()).decode()
        where = {"Bucket": self.address.bucket, "Key": self.address.key(path)}
        done = self._s3.put_object(**where, Body=data, ChecksumSHA256=digest, **condition)
        return str(done["ETag"])

    def get(self, path: str) -> Object | None:
        """Give an object; None when there is none."""
        with self._told(path):
            try:
                found = self._s3.get_object(Bucket=self.address.bucket, Key=self.address.key(path))
                return Object(found["Body"].read(), str(found["ETag"]))
            except self._refusals as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise

    def delete(self, paths: list[str]) -> None:
        """Remove objects, whether they are there or not."""
        for start in range(0, len(paths), _AT_ONCE):
            keys = [{"Key": self.address.key(path)} for path in paths[start : start + _AT_ONCE]]
            with self._told(paths[start]):
                done = self._s3.delete_objects(
                    Bucket=self.address.bucket, Delete={"Objects": keys, "Quiet": True}
                )
            if errors := done.get("Errors"):
                raise OSError(f"{self.address}: {errors[0].get('Key')}: {errors[0].get('Message')}")

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """Give what boto3 raises as OSError in one line."""
        try:
            yield
        except self._refusals as error:
            raise OSError(f"{self.address}/{path}: {_line(error)}") from None
        except self._failures as error:
            raise OSError(f"{self.address}/{path}: {_line(error)}") from None


def _line(error: Any) -> str:
    return " ".join(str(error).split())[:300]
