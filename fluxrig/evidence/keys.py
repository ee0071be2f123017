"""Ed25519 keys (RFC 8032): one to sign with, kept private, and the public ones that check."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fluxrig.errors import FluxrigError

PRIVATE_NAME: Final = "signing.key"
PUBLIC_NAME: Final = "signing.pub"


class SigningKey:
    """A private key. `key_id` names it: the start of the SHA-256 of the 32 bytes of its public key, hex."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key()
        self.key_id = _key_id(self.public)
        self.public_pem = private.public_key().public_bytes(
            form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        )

    @classmethod
    def generate(cls) -> Self:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Load a folder's key, made at the first time: `signing.key` (PEM, 0600), with `signing.pub` beside.

        A public key whose private key is gone stays as `signing.<key id>.pub`: what it signed still stands.
        """
        path, public = folder / PRIVATE_NAME, folder / PUBLIC_NAME
        key = cls._load(path) if path.exists() else cls._make(path)
        if not public.exists() or public.read_bytes() != key.public_pem:
            if public.exists():
                public.rename(folder / f"signing.{next(iter(PublicKeys.load([public]).ids))}.pub")
            _write(public, key.public_pem, 0o644)
        return key

    @classmethod
    def _load(cls, path: Path) -> Self:
        try:
            private = form.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise FluxrigError(f"{path} holds no Ed25519 private key in PEM; restore it from a backup")
        return cls(private)

    @classmethod
    def _make(cls, path: Path) -> Self:
        key = cls.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = key._private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        _write(path, pem, 0o600)
        return key

    def sign(self, data: bytes) -> bytes:
        """Give the 64 bytes of the signature."""
        return self._private.sign(data)


class PublicKeys:
    """The public keys that someone trusts, by their id."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {_key_id(key): key for key in keys}

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Self:
        """Read PEM files. Raises FluxrigError when one is missing or something else."""
        return cls(map(_public, paths))

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._keys)

    def checks(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Tell whether the trusted key `key_id` signed `data`."""
        try:
            self._keys[key_id].verify(signature, data)
        except (KeyError, InvalidSignature):
            return False
        return True


def _public(path: Path) -> Ed25519PublicKey:
    key: object = None
    try:
        key = form.load_pem_public_key(path.read_bytes())
    except FileNotFoundError:
        raise FluxrigError(f"there is no public key at {path}; give the Mixer's signing.pub") from None
    except (ValueError, UnsupportedAlgorithm):
        pass
    if not isinstance(key, Ed25519PublicKey):
        raise FluxrigError(f"{path} holds no Ed25519 public key in PEM; give the Mixer's signing.pub")
    return key


def _key_id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)).hexdigest()[:16]


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is on disk, whole or not at all, when this returns."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
