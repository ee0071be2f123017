"""Where a Rack keeps who it is: `<state>/identity`, readable by its owner alone.

    tls.key    the private key of its certificate      user.nk     the seed of its NATS key
    tls.pem    the certificate                         user.creds  that seed with the Mixer's JWT, for NATS
    ca.pem     the Mixer's authority                   rack.json   names, and where the Mixer is
    leaves.pem the authority of the servers that the leaf dials, where that is another one

What is new is made whole in `identity.new` and then takes the place of what is there, so that a crash at any
moment leaves the one or the other. Keys that wait for approval do so in `identity.pending`.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fluxrig.durable import sync_folder, write_durably
from fluxrig.errors import IdentityError
from fluxrig.identity import certificates, jwt
from fluxrig.identity.address import Address
from fluxrig.identity.enrol import Answer
from fluxrig.identity.keys import Keys
from fluxrig.identity.nkey import KeyPair

_LEAF_CA: Final = "leaves.pem"
_ENROL_ANEW: Final = "enrol this Rack anew: fluxrig enroll TOKEN --new-keys"


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled Rack. Times are seconds since the Unix epoch by the Rack's clock."""

    folder: Path
    project: str
    rack: str
    uns: str
    """The UNS prefix that it may publish below."""
    host: str
    enrol_port: int
    leaf_port: int
    issued_s: float
    expires_s: float
    """When its certificate ends, by the certificate."""
    leaves: tuple[str, ...] = ()
    """HOST:PORT of the servers that the leaf dials, where that is not the Mixer's."""

    @property
    def enrol(self) -> Address:
        return Address(self.host, self.enrol_port)

    @property
    def dials(self) -> tuple[Address, ...]:
        """Where the leaf dials: any one of these."""
        return tuple(map(Address.parse, self.leaves)) or (Address(self.host, self.leaf_port),)

    @property
    def ca_pem(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def leaf_ca(self) -> Path | None:
        """The authority of what the leaf dials; None for those that the machine trusts."""
        if not self.leaves:
            return self.ca_pem
        own = self.folder / _LEAF_CA
        return own if own.exists() else None

    @property
    def tls_key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def tls_pem(self) -> Path:
        return self.folder / "tls.pem"

    @property
    def credentials(self) -> Path:
        return self.folder / "user.creds"

    def covers(self, uns: str) -> bool:
        """Tell whether a UNS path is the prefix or below it."""
        return f"{uns}/".startswith(f"{self.uns}/")

    @property
    def life_s(self) -> float:
        return self.expires_s - self.issued_s

    def needs_renewal(self, now_s: float) -> bool:
        """Tell whether half of the certificate's life is over, or the clock says that it has not begun."""
        return not self.issued_s <= now_s < (self.issued_s + self.expires_s) / 2

    def keys(self) -> Keys:
        """Read the private keys. Raises IdentityError."""
        return _keys(self.folder)


class IdentityFolder:
    """The identity of the Rack whose state is in a folder."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "identity"
        self._new = state_dir / "identity.new"
        self._old = state_dir / "identity.old"
        self._pending = state_dir / "identity.pending"

    def load(self) -> Identity | None:
        """Give the identity, or None before the first enrolment. IdentityError when it is damaged."""
        self._recover()
        try:
            fields = json.loads((self.path / "rack.json").read_text("utf-8"))
            identity = Identity(folder=self.path, **fields | {"leaves": tuple(fields.get("leaves", ()))})
            _check(identity)
        except FileNotFoundError as error:
            if not self.path.exists():
                return None
            raise IdentityError(f"{error.filename} is missing; {_ENROL_ANEW}") from None
        except (IdentityError, OSError, ValueError, TypeError) as error:
            raise IdentityError(f"{self.path} is damaged ({error}); {_ENROL_ANEW}") from None
        return identity

    def stamp(self) -> int:
        """Give a number that changes whenever an identity is put in place; 0 while there is none."""
        try:
            return (self.path / "rack.json").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def pending_keys(self) -> Keys:
        """Give the keys that a first enrolment asks with: those of an earlier try, or new ones."""
        with suppress(IdentityError, OSError):
            return _keys(self._pending)
        self.forget_pending()
        self._pending.mkdir(mode=0o700, parents=True)
        keys = Keys.create()
        _write_keys(self._pending, keys)
        return keys

    def forget_pending(self) -> None:
        """Drop keys that wait for approval, so that the next try makes new ones."""
        shutil.rmtree(self._pending, ignore_errors=True)

    def save(self, keys: Keys, answer: Answer, ca_pem: bytes, enrol: Address) -> Identity:
        """Keep what the Mixer issued for `keys`. Raises IdentityError when it does not fit them."""
        certificate = certificates.certificate_from_pem(answer.certificate.encode())
        identity = Identity(
            folder=self.path,
            project=answer.project,
            rack=answer.rack,
            uns=answer.uns,
            host=enrol.host,
            enrol_port=enrol.port,
            leaf_port=answer.leaf_port,
            leaves=answer.leaves,
            issued_s=time.time(),
            expires_s=certificate.not_valid_after_utc.timestamp(),
        )
        self._make(keys, identity, answer, ca_pem)
        _check(identity, self._new)
        self._promote()
        with suppress(IdentityError, OSError):
            if _keys(self._pending).public == keys.public:
                self.forget_pending()
        return identity

    def _make(self, keys: Keys, identity: Identity, answer: Answer, ca_pem: bytes) -> None:
        shutil.rmtree(self._new, ignore_errors=True)
        self._new.mkdir(mode=0o700, parents=True)
        _write_keys(self._new, keys)
        write_durably(self._new / "tls.pem", answer.certificate.encode())
        write_durably(self._new / "ca.pem", ca_pem)
        if answer.leaf_ca:
            write_durably(self._new / _LEAF_CA, answer.leaf_ca.encode())
        write_durably(self._new / "user.creds", jwt.credentials(answer.jwt, keys.nats).encode())
        left_out = {"folder"} if identity.leaves else {"folder", "leaves"}
        fields = {name: value for name, value in asdict(identity).items() if name not in left_out}
        write_durably(self._new / "rack.json", json.dumps(fields, indent=1).encode())

    def _promote(self) -> None:
        shutil.rmtree(self._old, ignore_errors=True)
        with suppress(FileNotFoundError):
            self.path.rename(self._old)
        self._new.rename(self.path)
        sync_folder(self.path.parent)
        shutil.rmtree(self._old, ignore_errors=True)

    def _recover(self) -> None:
        """Finish or undo what a crash in `_promote` left."""
        if not self.path.exists() and self._old.exists():
            (self._new if (self._new / "rack.json").exists() else self._old).rename(self.path)
        shutil.rmtree(self._old, ignore_errors=True)


def _keys(folder: Path) -> Keys:
    tls = certificates.key_from_pem((folder / "tls.key").read_bytes())
    return Keys(tls, KeyPair.from_seed((folder / "user.nk").read_bytes()))


def _write_keys(folder: Path, keys: Keys) -> None:
    write_durably(folder / "tls.key", certificates.key_to_pem(keys.tls))
    write_durably(folder / "user.nk", keys.nats.seed + b"\n")


def _check(identity: Identity, folder: Path | None = None) -> None:
    """Hold the files against each other. Raises IdentityError, OSError."""
    folder = folder or identity.folder
    keys = _keys(folder)
    certificate = certificates.certificate_from_pem((folder / "tls.pem").read_bytes())
    authority = certificates.certificate_from_pem((folder / "ca.pem").read_bytes())
    named = certificates.rack_name(certificate)
    fits = (
        certificates.key_fingerprint(certificate) == keys.public.tls
        and certificates.issued_by(authority, certificate)
        and (named.project, named.rack) == (identity.project, identity.rack)
        and f"\n{keys.nats.seed.decode()}\n" in (folder / "user.creds").read_text("ascii")
    )
    if not fits:
        raise IdentityError("its files do not belong together")
