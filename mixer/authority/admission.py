"""Whether a Rack that dials in is the one that it says, and may come in.

A login shows two things that were issued together: a certificate (the TLS layer has proven its key) and
claims, with a signature that proves the key they name. Both must be of one Rack, in the project whose account
it asks for, with the keys it was approved with. So neither half is worth anything alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from fluxrig.errors import FluxrigError, IdentityError
from fluxrig.identity import certificates
from fluxrig.identity.jwt import Claims, decode
from fluxrig.identity.keys import PublicKeys
from fluxrig.identity.nkey import verify

Objection = Callable[[str, str, PublicKeys], str]
"""Of project, Rack and keys: why such a Rack may not come in, or ""."""

_AUDIENCE: Final = "nats-authorization-request"
_LEAF: Final = "Leafnode"


class Unwelcome(FluxrigError):
    """Who may not come in (`who`), and why."""

    def __init__(self, who: str, why: str) -> None:
        super().__init__(why)
        self.who = who


@dataclass(frozen=True, slots=True)
class Login:
    """What nats-server says of a connection that wants in (jwt/v2, AuthorizationRequest).

    `user` is the key that the answer must name, `server` the server that asks, `connection` its number there.
    """

    user: str
    server: str
    connection: int
    host: str
    name: str
    kind: str
    nonce: str
    signature: str
    jwt: str
    certificate: str

    @classmethod
    def parse(cls, payload: bytes) -> Login:
        """Read a request. IdentityError when it is not one of a NATS server."""
        claims = decode(payload.decode("ascii", "replace"))
        nats = claims.nats
        try:
            client, shown = nats["client_info"], nats["connect_opts"]
            chains = (nats.get("client_tls") or {}).get("verified_chains") or [[""]]
            login = cls(
                user=str(nats["user_nkey"]),
                server=str(nats["server_id"]["id"]),
                connection=int(client["id"]),
                host=str(client.get("host", "")),
                name=str(client.get("name", "")),
                kind=str(client.get("kind", "")),
                nonce=str(client.get("nonce", "")),
                signature=str(shown.get("sig", "")),
                jwt=str(shown.get("jwt", "")),
                certificate=str(chains[0][0]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise IdentityError("a request for admission that can't be read") from None
        if claims.issuer != login.server or claims.audience != _AUDIENCE:
            raise IdentityError("a request for admission that no server has signed")
        return login


@dataclass(frozen=True, slots=True)
class Admitted:
    """A Rack that may come in, until `end_s` (seconds since the Unix epoch)."""

    rack: str
    end_s: int


def admit(login: Login, project: str, account: str, objection: Objection, now_s: float) -> Admitted:
    """Check a login to a project, whose account's public key is `account`. Raises Unwelcome."""
    certificate, who = _shown(login)
    name = certificates.rack_name(certificate)
    if name.project != project:
        raise Unwelcome(who, f"it is of project {name.project}, and shows credentials for {project}")
    claims = _claims(login, account, who, now_s)
    if claims.name != name.rack:
        raise Unwelcome(who, f"it shows the credentials of Rack {claims.name}")
    if login.name != name.rack:
        raise Unwelcome(who, f"its leaf calls itself {login.name[:64]!r}")
    keys = PublicKeys(claims.subject, certificates.key_fingerprint(certificate))
    if why := objection(project, name.rack, keys):
        raise Unwelcome(who, why)
    end_s = int(certificate.not_valid_after_utc.timestamp())
    return Admitted(name.rack, min(end_s, claims.expires_s or end_s))


def _shown(login: Login) -> tuple[x509.Certificate, str]:
    """Give the certificate, which the server has checked against the authority, and a name for the log."""
    if login.kind != _LEAF:
        raise Unwelcome(login.host, f"only leaves may come in, and it is a {login.kind or 'stranger'}")
    try:
        certificate = certificates.certificate_from_pem(login.certificate.encode())
        return certificate, f"Rack {certificates.rack_name(certificate).rack} ({login.host})"
    except IdentityError as error:
        raise Unwelcome(login.host, f"it shows {error}") from None


def _claims(login: Login, account: str, who: str, now_s: float) -> Claims:
    try:
        claims = decode(login.jwt)
        proven = verify(claims.subject, login.nonce.encode(), _signature(login.signature))
    except (IdentityError, ValueError) as error:
        raise Unwelcome(who, f"its credentials are no good: {error}") from None
    if claims.issuer != account:
        raise Unwelcome(who, "its credentials are of another project")
    if not proven:
        raise Unwelcome(who, "it shows credentials without having their key")
    if not claims.valid_at(now_s):
        raise Unwelcome(who, "its credentials have expired")
    return claims


def _signature(text: str) -> bytes:
    """Read base64, in either alphabet, padded or not."""
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
