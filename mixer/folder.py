"""The Mixer's data folder: what is where in it, who holds it, and its secrets.

audit/        the Parquet files; those on their way, when they are kept in a bucket
audit.url     the bucket in which they are kept, if they are
hub/          the hub's streams
identity/     all keys, and who is enrolled: see mixer.authority.identity
run.json      how to reach the running Mixer (0600; gone when it stops)
lock          held by the running Mixer
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from fluxrig.bus import Bus, Credentials
from fluxrig.bus.store import write_private
from fluxrig.errors import BusUnavailable, FluxrigError, IdentityError
from fluxrig.identity.nkey import KeyPair
from mixer.authority.identity import Authority

DATA_VARIABLE: Final = "FLUXRIG_MIXER_DATA"
REACH_S: Final = 3.0


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


@dataclass(frozen=True, slots=True)
class Access:
    """How a command reaches a server: its URL, what it shows there, and the authority of its certificate."""

    url: str
    auth: Credentials
    ca: Path | None = None

    def fields(self) -> dict[str, str]:
        """Give it as it is kept in run.json."""
        shown = {"url": self.url, "jwt": self.auth.jwt, "seed": self.auth.user.seed.decode()}
        return shown | ({"ca": str(self.ca)} if self.ca else {})

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        """Read it back. Raises KeyError, TypeError, AttributeError or IdentityError."""
        auth = Credentials(fields["jwt"], KeyPair.from_seed(fields["seed"].encode()))
        return cls(fields["url"], auth, Path(fields["ca"]) if "ca" in fields else None)


class Folder:
    """A data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.audit = self.path / "audit"
        self.url = self.path / "audit.url"
        self.hub = self.path / "hub"
        self.identity = self.path / "identity"
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

    def authority(self) -> Authority:
        """Open the identity, made with the first data. The folder must be held. Raises BrokenIdentity."""
        return Authority.open(self.identity, [self.hub, self.audit])

    def running(self) -> dict[str, Any] | None:
        """Give what the running Mixer left of itself (`pid` and how to reach it), or None."""
        try:
            found = json.loads(self.run.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def announce(self, control: Access, readers: Mapping[str, Access], enrol: str) -> None:
        """Say how commands reach this Mixer, how they read each project's streams, and where Racks enrol."""
        projects = {name: access.fields() for name, access in readers.items()}
        more = {"pid": os.getpid(), "enrol": enrol, "projects": projects}
        write_private(self.run, json.dumps(control.fields() | more))

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Take back at the end what was announced."""
        try:
            yield
        finally:
            self.run.unlink(missing_ok=True)

    async def reach(self, name: str, timeout_s: float = REACH_S, project: str = "") -> Bus:
        """Connect to the running Mixer, for requests to it, or to read the streams of a project.

        BusUnavailable when no Mixer can be reached, or it has no such project.
        """
        found = self.running()
        if found is None:
            raise BusUnavailable(f"no Mixer runs on {self.path}; start it with `mixer up`")
        try:
            access = Access.of(found["projects"][project] if project else found)
        except (KeyError, TypeError, AttributeError, IdentityError):
            raise BusUnavailable(f"{self.run} does not say how to reach the Mixer; start it again") from None
        return await Bus.connect(access.url, access.auth, name, timeout_s, ca=access.ca)
