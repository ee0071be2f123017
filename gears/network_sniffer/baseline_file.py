"""The file that keeps what the baseline has learned, so that a restart goes on with it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxrig.durable import write_durably
from fluxrig.errors import Fatal
from gears.network_sniffer.baseline import Baseline, Learned
from gears.network_sniffer.scans import MAX_KNOWN

SAVE_S: Final = 10.0
"""What is new is on disk after this time at the latest."""
MAX_BYTES: Final = 64 << 20

Facts = Field(max_length=MAX_KNOWN)
Unit = Annotated[int, Field(ge=0, le=65_535)]


class _File(BaseModel):
    """What is in the file, as JSON; facts in order, so that two files are easy to compare."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1] = 1
    since_ns: int = Field(ge=0, lt=1 << 64)
    clients: list[tuple[str, str]] = Facts
    writers: list[tuple[str, str, Unit]] = Facts
    functions: list[tuple[str, str, Unit]] = Facts


class BaselineFile:
    """Reads what was learned once, and writes it when there is more."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.learned: Learned | None = None
        self._path = path
        self._log = log
        self._saved_s = 0.0

    def load(self) -> None:
        """Take what an earlier run has learned; a file that is damaged is put aside, with a warning.

        Raises Fatal where the file can't be read, or its folder is not there.
        """
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                raise Fatal(f"there is no folder {self._path.parent} for the baseline; make it") from None
            return
        except OSError as error:
            raise Fatal(f"can't read the baseline {self._path}: {error.strerror or error}") from error
        try:
            self.learned = _parse(data)
        except ValueError:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            self._log.warning("%s is no baseline; learning anew, the file is now %s", self._path, aside)
            try:
                self._path.replace(aside)
            except OSError as error:
                raise Fatal(f"can't move {self._path} aside: {error.strerror or error}") from error

    async def keep(self, baseline: Baseline, now_s: float | None = None) -> None:
        """Write what is new: if the last time was long ago, or, without a time `now_s`, in any case."""
        if not baseline.changed or (now_s is not None and now_s - self._saved_s < SAVE_S):
            return
        self._saved_s = self._saved_s if now_s is None else now_s
        self.learned = baseline.learned()
        if self.learned is None:
            return
        try:
            await asyncio.to_thread(write_durably, self._path, _text(self.learned))
        except OSError as error:
            self._log.warning("can't write the baseline %s: %s", self._path, error.strerror or error)


def _parse(data: bytes) -> Learned:
    """Raises ValueError."""
    if len(data) > MAX_BYTES:
        raise ValueError("too large")
    try:
        found = _File.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(str(error)) from None
    return Learned(found.since_ns, set(found.clients), set(found.writers), set(found.functions))


def _text(learned: Learned) -> bytes:
    file = _File(
        since_ns=learned.since_ns,
        clients=sorted(learned.clients),
        writers=sorted(learned.writers),
        functions=sorted(learned.functions),
    )
    return file.model_dump_json().encode() + b"\n"
