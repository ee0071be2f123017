"""NATS's keys: Ed25519 (RFC 8032), written as text whose first letter tells the kind.

Form (github.com/nats-io/nkeys): base32 without padding of prefix, 32 bytes of key, CRC-16/XMODEM (low byte
first). A seed has two prefix bytes, for "seed" and for the kind, and so begins with S and the kind's letter.
"""

from __future__ import annotations

import base64
import binascii
from enum import Enum
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fluxrig.errors import IdentityError

_SEED_PREFIX: Final = 18 << 3
_SEED_CHARS: Final = 58
_PUBLIC_CHARS: Final = 56


class Kind(Enum):
    """What a key stands for; the value is its prefix byte."""

    ACCOUNT = 0
    SERVER = 13 << 3
    OPERATOR = 14 << 3
    USER = 20 << 3


class KeyPair:
    """A private key with its public one. Neither `repr` nor an error ever shows the seed."""

    def __init__(self, kind: Kind, private: Ed25519PrivateKey) -> None:
        self.kind = kind
        self.public = _encode(bytes([kind.value]) + private.public_key().public_bytes_raw()).decode()
        self._private = private

    @classmethod
    def create(cls, kind: Kind) -> Self:
        return cls(kind, Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Read the text of a seed, white space around it allowed. IdentityError when it is none."""
        raw = _decode(seed.strip(), _SEED_CHARS, "seed of an NKey")
        if raw[0] & 0xF8 != _SEED_PREFIX:
            raise IdentityError("not a seed of an NKey: a wrong prefix")
        return cls(_kind((raw[0] & 0x07) << 5 | raw[1] >> 3), Ed25519PrivateKey.from_private_bytes(raw[2:]))

    @property
    def seed(self) -> bytes:
        """The secret, as text. It belongs in files of mode 0600 and nowhere else."""
        prefix = bytes([_SEED_PREFIX | self.kind.value >> 5, (self.kind.value & 0x1F) << 3])
        return _encode(prefix + self._private.private_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Give the 64 bytes of the signature."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"


def kind_of(public: str) -> Kind:
    """Tell what a public key stands for. IdentityError when it is not one."""
    return _kind(_public(public)[0])


def verify(public: str, data: bytes, signature: bytes) -> bool:
    """Tell whether `public` signed `data`. IdentityError when `public` is not a public key."""
    try:
        Ed25519PublicKey.from_public_bytes(_public(public)[1:]).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _public(text: str) -> bytes:
    try:
        return _decode(text.encode("ascii"), _PUBLIC_CHARS, "public NKey")
    except UnicodeEncodeError:
        raise IdentityError("not a public NKey: not ASCII") from None


def _kind(prefix: int) -> Kind:
    try:
        return Kind(prefix)
    except ValueError:
        raise IdentityError("an NKey of a kind that is not used here") from None


def _encode(body: bytes) -> bytes:
    check = binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return base64.b32encode(body + check).rstrip(b"=")


def _decode(text: bytes, chars: int, what: str) -> bytes:
    """Give prefix and key. Only the one canonical text of a key is taken."""
    if len(text) != chars:
        raise IdentityError(f"not a {what}: {len(text)} characters instead of {chars}")
    try:
        raw = base64.b32decode(text + b"=" * (-chars % 8))
    except binascii.Error:
        raise IdentityError(f"not a {what}: not base32") from None
    if _encode(raw[:-2]) != text:
        raise IdentityError(f"not a {what}: its checksum does not fit")
    return raw[:-2]
