"""A copy of the identity in one file, and back. The file has every secret of the Mixer: it is made 0600.

A running Mixer replaces each file as a whole, and what refers to another is written later. So files are read
in the opposite order: the Racks, then the index, then the keys that it tells of.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Final

from fluxrig.durable import sync_folder, write_durably
from fluxrig.errors import FluxrigError
from mixer.authority.identity import INDEX, RACKS, TOKENS, BrokenIdentity, check, put_in_place

MAX_BYTES: Final = 64 << 20
_FIRST: Final = (RACKS, TOKENS, INDEX)
_KEYS: Final = ("operator.nk", "system.nk", "control.nk", "ca.key", "ca.pem", "signing.key")
_NAME: Final = re.compile(r"(?:[a-z]+\.(?:nk|key|pem|json)|projects/[a-z0-9][a-z0-9-]{0,31}\.nk)")
_LIVING: Final = (RACKS, TOKENS)
"""What goes on changing: what is there is newer than what a backup has, and a revoked Rack stays revoked."""


def backup(identity: Path, target: Path) -> list[str]:
    """Write the identity into one new file, whole or not at all; give the names of what is in it.

    Raises FluxrigError when the identity is not whole, or the file is there already.
    """
    check(identity)
    files = _read(identity)
    if target.exists():
        raise FluxrigError(f"{target} is there already; name another file")
    try:
        write_durably(target, _packed(files))
    except OSError as error:
        raise FluxrigError(f"{target} can't be written: {error.strerror}") from None
    return sorted(files)


def restore(source: Path, identity: Path) -> list[str]:
    """Put an identity back from a file, once it has proven whole; give the names of what was put back.

    One that is there is replaced only when it is the same one, and then keeps what it knows of Racks and
    tokens. Raises FluxrigError; nothing is changed then.
    """
    files = _unpacked(source)
    draft = identity.with_name(f"{identity.name}.restored")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _write(draft, files)
        _check(draft, source)
        _put(draft, identity)
    except OSError as error:
        raise FluxrigError(f"{identity} can't be put back: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return sorted(files)


def _check(draft: Path, source: Path) -> None:
    try:
        check(draft)
    except BrokenIdentity as broken:
        fault = str(broken).partition(";")[0].replace(f"{draft}/", "")
        raise FluxrigError(f"{source} is not a whole backup: {fault}; restore from another one") from None


def _put(draft: Path, identity: Path) -> None:
    if not identity.is_dir() or not any(identity.iterdir()):
        identity.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put_in_place(draft, identity)
        return
    if not _is_same(draft, identity):
        raise FluxrigError(f"{identity} holds another identity; move it away first")
    for name in _LIVING:
        if (identity / name).is_file():
            write_durably(draft / name, (identity / name).read_bytes())
    old = identity.with_name(f"{identity.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    identity.rename(old)
    draft.rename(identity)
    sync_folder(identity.parent)
    shutil.rmtree(old)


def _is_same(one: Path, other: Path) -> bool:
    """Tell whether what is left of an identity belongs to another copy of it."""
    shared = [name for name in _KEYS if (other / name).is_file()]
    equal = [name for name in shared if (one / name).read_bytes() == (other / name).read_bytes()]
    return bool(equal) and (_id(other) in ("", _id(one)))


def _id(folder: Path) -> str:
    try:
        return str(json.loads((folder / INDEX).read_text("utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read(identity: Path) -> dict[str, bytes]:
    files = {name: (identity / name).read_bytes() for name in _FIRST if (identity / name).is_file()}
    told = json.loads(files[INDEX])["public"]
    return files | {name: (identity / name).read_bytes() for name in {*_KEYS, *told}}


def _packed(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _unpacked(source: Path) -> dict[str, bytes]:
    """Read a backup. Whatever else a file holds than plain files of the right names is refused."""
    files: dict[str, bytes] = {}
    try:
        if source.stat().st_size > MAX_BYTES:
            raise FluxrigError(f"{source} is no backup of an identity: it is too large")
        with tarfile.open(source, mode="r:") as archive:
            for entry in archive:
                opened = archive.extractfile(entry) if entry.isreg() else None
                if opened is None or not _NAME.fullmatch(entry.name) or entry.name in files:
                    raise FluxrigError(f"{source} is no backup of an identity: it has {entry.name[:64]!r}")
                files[entry.name] = opened.read(MAX_BYTES)
    except OSError as error:
        raise FluxrigError(f"{source} can't be read: {error.strerror or error}") from None
    except tarfile.TarError:
        raise FluxrigError(f"{source} is no backup of an identity, or is cut") from None
    return files


def _write(draft: Path, files: dict[str, bytes]) -> None:
    (draft / "projects").mkdir(mode=0o700, parents=True)
    draft.chmod(0o700)
    for name, data in files.items():
        write_durably(draft / name, data)
