"""What a connection shows to a NATS server: a shared token, or signed claims and the key they name."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from fluxrig.identity.nkey import KeyPair


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that the server knows too."""

    text: str = field(repr=False)

    def options(self) -> dict[str, Any]:
        """Give the options of nats-py's `connect`."""
        return {"token": self.text}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's claims, and its key, which signs what the server asks (its nonce) and never leaves us."""

    jwt: str = field(repr=False)
    user: KeyPair

    def options(self) -> dict[str, Any]:
        """Give the options of nats-py's `connect`."""
        return {"user_jwt_cb": self.jwt.encode, "signature_cb": self._sign}

    def _sign(self, nonce: str) -> bytes:
        return base64.b64encode(self.user.sign(nonce.encode()))


Auth = Token | Credentials
