"""The Mixer's data folder: what is where in it, who holds it, and its secrets.

audit/        the Parquet files; those on their way, when they are kept in a bucket
audit.url     the bucket in which they are kept, if they are
hub/          the hub's streams
racks.json    the Racks that have registered
snake.token   what a Rack must show (0600)
run.json      how to reach the running Mixer (0600; gone when it stops)
lock          held by the running Mixer
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fluxrig.bus.store import write_private
from fluxrig.errors import FluxrigError
from fluxrig.rackfile.snake import TOKEN_VARIABLE

DATA_VARIABLE = "FLUXRIG_MIXER_DATA"

_log = logging.getLogger("fluxrig.mixer")


def default_path() -> Path:
    """Give the data folder of this user: $FLUXRIG_MIXER_DATA, or the place the XDG specification gives."""
    if chosen := os.environ.get(DATA_VARIABLE):
        return Path(chosen)
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "fluxrig" / "mixer"


class FolderTaken(FluxrigError):
    """A Mixer is running on the folder."""

    def __init__(self, path: Path, pid: object) -> None:
        super().__init__(
            f"a Mixer is already running on {path} (process {pid}); stop it, give another --data, "
            "or let this one follow it with --standby"
        )
        self.holder = f"process {pid}"


class Folder:
    """A data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.audit = self.path / "audit"
        self.url = self.path / "audit.url"
        self.hub = self.path / "hub"
        self.racks = self.path / "racks.json"
        self.token = self.path / "snake.token"
        self.run = self.path / "run.json"

    @property
    def store(self) -> Path | str:
        """Where the audit store is read from: the folder, or the bucket's URL."""
        with suppress(FileNotFoundError):
            return self.url.read_text("utf-8").strip()
        return self.audit

    def keep_url(self, url: str) -> None:
        """Note the bucket in which the audit is kept, for the commands of readers."""
        if self.store != url:
            write_private(self.url, url + "\n")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder if need be and hold it, so that one Mixer at a time writes into it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            pid = (self.running() or {}).get("pid", "unknown")
            raise FolderTaken(self.path, pid) from None
        finally:
            os.close(descriptor)

    def snake_token(self) -> str:
        """Give what a Rack must show: $FLUXRIG_SNAKE_TOKEN, or the token kept here, made when missing."""
        if given := os.environ.get(TOKEN_VARIABLE):
            return given
        with suppress(FileNotFoundError):
            if kept := self.token.read_text("utf-8").strip():
                return kept
        write_private(self.token, made := secrets.token_urlsafe(32))
        _log.info("made %s; each Rack needs a copy of it", self.token)
        return made

    def running(self) -> dict[str, Any] | None:
        """Give what the running Mixer left to reach it by (url, token, pid), or None."""
        try:
            found = json.loads(self.run.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @contextmanager
    def announced(self, url: str, token: str) -> Iterator[None]:
        """Say how this Mixer can be reached, until it stops."""
        write_private(self.run, json.dumps({"url": url, "token": token, "pid": os.getpid()}))
        try:
            yield
        finally:
            self.run.unlink(missing_ok=True)
