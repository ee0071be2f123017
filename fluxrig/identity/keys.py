"""A Rack's two keys: one for TLS, one for NATS. Made on the Rack; they never leave it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from fluxrig.identity import certificates
from fluxrig.identity.nkey import KeyPair, Kind

_SHOWN_DIGITS: Final = 32  # 128 bits: enough that nobody finds a second pair of keys with the same ones


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The private keys."""

    tls: certificates.Key
    nats: KeyPair

    @classmethod
    def create(cls) -> Self:
        return cls(certificates.make_key(), KeyPair.create(Kind.USER))

    @property
    def public(self) -> PublicKeys:
        return PublicKeys(self.nats.public, certificates.key_fingerprint(self.tls))


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What tells a Rack's keys: the NATS key itself, and the SHA-256 of the TLS key (hex)."""

    nats: str
    tls: str

    @property
    def fingerprint(self) -> str:
        """Give what two people compare over the telephone: eight groups of four hex digits for both keys."""
        digits = sha256(f"{self.nats}\n{self.tls}".encode()).hexdigest()[:_SHOWN_DIGITS]
        return "-".join(digits[at : at + 4] for at in range(0, _SHOWN_DIGITS, 4))
