"""The Mixer's identity: all of its keys, in one folder of mode 0700, the one thing to back up.

    identity.json       what belongs here, with the public part of each key
    operator.nk         signs accounts             ca.key, ca.pem    sign certificates
    system.nk           the hub's own account      signing.key       signs the audit
    control.nk          the operators' account     racks.json        who is enrolled
    projects/<name>.nk  a project's account        tokens.json       join tokens, as hashes

It is made whole on the first start, and never again beside data that an earlier one vouched for.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from fluxrig.durable import sync_folder, write_durably
from fluxrig.errors import FluxrigError, IdentityError
from fluxrig.evidence import PUBLIC_NAME, SigningKey
from fluxrig.identity import certificates
from fluxrig.identity.names import DEFAULT_PROJECT, project_fault
from fluxrig.identity.nkey import KeyPair, Kind

VERSION: Final = 1
INDEX: Final = "identity.json"
RACKS: Final = "racks.json"
TOKENS: Final = "tokens.json"
MAX_PROJECTS: Final = 256
T = TypeVar("T")
_log = logging.getLogger("fluxrig.mixer")
_SIGNING: Final = "signing.key"
_ACCOUNTS: Final = {"operator.nk": Kind.OPERATOR, "system.nk": Kind.ACCOUNT, "control.nk": Kind.ACCOUNT}


class BrokenIdentity(FluxrigError):
    """The identity is missing or not whole, and may not be made anew."""


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """The keys, loaded and checked."""

    folder: Path
    operator: KeyPair
    system: KeyPair
    control: KeyPair
    projects: dict[str, KeyPair]
    ca: certificates.Authority
    signing: SigningKey

    @classmethod
    def open(cls, folder: Path, data: Sequence[Path] = ()) -> Authority:
        """Load the identity, made on the first start.

        Raises BrokenIdentity, naming the file, when it is missing or not whole while one of `data` holds
        anything, and when a key is not the one that `identity.json` tells of.
        """
        if not _holds_anything(folder):
            _check_unused(folder, data)
            _create(folder)
        authority = cls._load(folder)
        _make_private(folder)
        _clear_old_key(folder)
        _show_public_key(folder)
        return authority

    @classmethod
    def _load(cls, folder: Path) -> Authority:
        public = _index(folder)
        for name in (RACKS, "ca.pem"):
            if not (folder / name).is_file():
                raise _broken(folder / name, "is missing")
        keys = {name: _account_key(folder / name, kind, public) for name, kind in _ACCOUNTS.items()}
        return cls(
            folder,
            keys["operator.nk"],
            keys["system.nk"],
            keys["control.nk"],
            {
                Path(name).stem: _account_key(folder / name, Kind.ACCOUNT, public)
                for name in sorted(public)
                if name.startswith("projects/")
            },
            _ca(folder, public),
            _signing_key(folder, public),
        )

    def account(self, project: str) -> KeyPair | None:
        """Give the key of a project's account, None when there is no such project."""
        return self.projects.get(project)

    def add_project(self, name: str) -> None:
        """Make a project. FluxrigError when the name can't be had."""
        if fault := project_fault(name):
            raise FluxrigError(fault)
        if name in self.projects:
            raise FluxrigError(f"there is a project {name} already")
        if len(self.projects) >= MAX_PROJECTS:
            raise FluxrigError(f"this Mixer has {MAX_PROJECTS} projects, which is its limit")
        key = KeyPair.create(Kind.ACCOUNT)
        write_durably(self.folder / _project_file(name), key.seed)
        _write_index(self.folder, _index(self.folder) | {_project_file(name): key.public})
        self.projects[name] = key


def check(folder: Path) -> Authority:
    """Load an identity that must be there. Raises BrokenIdentity."""
    return Authority._load(folder)


def _create(folder: Path) -> None:
    """Make all keys beside the place, then put the folder there in one step."""
    draft = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft.mkdir(mode=0o700)
    (draft / "projects").mkdir(mode=0o700)
    public = {}
    for name, kind in (_ACCOUNTS | {_project_file(DEFAULT_PROJECT): Kind.ACCOUNT}).items():
        key = KeyPair.create(kind)
        write_durably(draft / name, key.seed)
        public[name] = key.public
    ca = certificates.make_ca(f"fluxrig Mixer {secrets.token_hex(4)}")
    write_durably(draft / "ca.key", certificates.key_to_pem(ca.key))
    write_durably(draft / "ca.pem", certificates.to_pem(ca.certificate))
    public["ca.pem"] = certificates.fingerprint(ca.certificate)
    public[_SIGNING] = _first_signing_key(folder.parent, draft)
    write_durably(draft / RACKS, b"[]")
    _write_index(draft, public)
    put_in_place(draft, folder)


def put_in_place(draft: Path, folder: Path) -> None:
    """Let a folder that is whole take the place of one that holds nothing."""
    if folder.exists():
        folder.rmdir()
    draft.rename(folder)
    sync_folder(folder.parent)


def _first_signing_key(data: Path, draft: Path) -> str:
    """Take over the audit's key, where the data folder has one from before there were identities."""
    old = data / _SIGNING
    if old.exists():
        write_durably(draft / _SIGNING, old.read_bytes())
    return SigningKey.of(draft).key_id


def _make_private(folder: Path) -> None:
    """Close what others may read, such as after a copy by hand, and say so: they may have read it."""
    for path in [folder, *folder.rglob("*")]:
        if path.suffix != ".pub" and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            _log.warning("%s was open to others (mode %03o); it is private again", path, mode)
            path.chmod(mode & 0o700)


def _clear_old_key(folder: Path) -> None:
    """Remove the audit's key from where it was before, once it is here."""
    old = folder.parent / _SIGNING
    if old.is_file() and old.read_bytes() == (folder / _SIGNING).read_bytes():
        old.unlink()


def _show_public_key(folder: Path) -> None:
    """Put the key that checks the audit where its readers look for it; they have no business in here."""
    mine, shown = folder / PUBLIC_NAME, folder.parent / PUBLIC_NAME
    if not shown.exists() or shown.read_bytes() != mine.read_bytes():
        write_durably(shown, mine.read_bytes(), 0o644)


def _check_unused(folder: Path, data: Sequence[Path]) -> None:
    """Refuse to make an identity beside what an earlier one vouched for."""
    used = next((path for path in data if _holds_anything(path)), None)
    if used is not None and not (folder.parent / _SIGNING).exists():
        raise BrokenIdentity(
            f"{folder} is missing, but {used} holds data; put the identity back with `mixer restore FILE`, "
            "or start anew in another --data folder"
        )


def _holds_anything(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


def _index(folder: Path) -> dict[str, str]:
    """Read what belongs here: by file, the public part of its key."""
    path = folder / INDEX
    try:
        fields = json.loads(path.read_text("utf-8"))
        public = fields["public"]
        whole = fields["version"] == VERSION and all(isinstance(one, str) for one in public.values())
    except FileNotFoundError:
        raise _broken(path, "is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, f"can't be read ({error})") from None
    if not whole:
        raise _broken(path, "is of another version")
    if missing := next((name for name in (*_ACCOUNTS, "ca.pem", _SIGNING) if name not in public), None):
        raise _broken(path, f"does not tell of {missing}")
    return dict(public)


def _write_index(folder: Path, public: dict[str, str]) -> None:
    path = folder / INDEX
    made = datetime.now(UTC).isoformat(timespec="seconds")
    fields: dict[str, Any] = {"version": VERSION, "id": secrets.token_hex(8), "made": made}
    if path.exists():
        fields |= json.loads(path.read_text("utf-8"))
    write_durably(path, json.dumps(fields | {"public": public}, indent=1).encode())


def _account_key(path: Path, kind: Kind, public: dict[str, str]) -> KeyPair:
    key = _read(path, KeyPair.from_seed)
    if key.kind is not kind or key.public != public[_name(path)]:
        raise _broken(path, "is not the key that identity.json tells of")
    return key


def _ca(folder: Path, public: dict[str, str]) -> certificates.Authority:
    certificate = _read(folder / "ca.pem", certificates.certificate_from_pem)
    key = _read(folder / "ca.key", certificates.key_from_pem)
    if certificates.fingerprint(certificate) != public["ca.pem"]:
        raise _broken(folder / "ca.pem", "is not the certificate that identity.json tells of")
    if certificates.key_fingerprint(certificate) != certificates.key_fingerprint(key):
        raise _broken(folder / "ca.key", "is not the key of ca.pem")
    return certificates.Authority(certificate, key)


def _signing_key(folder: Path, public: dict[str, str]) -> SigningKey:
    path = folder / _SIGNING
    if not path.is_file():
        raise _broken(path, "is missing")
    try:
        key = SigningKey.of(folder)
    except FluxrigError:
        raise _broken(path, "holds no key") from None
    if key.key_id != public[_SIGNING]:
        raise _broken(path, "is not the key that identity.json tells of")
    return key


def _read(path: Path, read: Callable[[bytes], T]) -> T:
    try:
        return read(path.read_bytes())
    except FileNotFoundError:
        raise _broken(path, "is missing") from None
    except OSError as error:
        raise _broken(path, f"can't be read ({(error.strerror or 'unknown error').lower()})") from None
    except IdentityError:
        raise _broken(path, "holds no key") from None


def _broken(path: Path, what: str) -> BrokenIdentity:
    return BrokenIdentity(f"{path} {what}; put the identity back with `mixer restore FILE`")


def _project_file(name: str) -> str:
    return f"projects/{name}.nk"


def _name(path: Path) -> str:
    return f"projects/{path.name}" if path.parent.name == "projects" else path.name
