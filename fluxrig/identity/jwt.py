"""NATS's signed claims, version 2 (github.com/nats-io/jwt/v2): JWTs by Ed25519 NKeys.

An operator's names the system account, an account's its limits and who answers for logins, a user's what it
may publish and subscribe. Times are seconds since the Unix epoch.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fluxrig.errors import IdentityError
from fluxrig.identity.nkey import KeyPair, verify

MAX_TOKEN_CHARS: Final = 64 << 10
_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}
_UNLIMITED: Final = -1
_BLOCK: Final = r"-+BEGIN {}-+\s+(\S+)\s+-+END"


class BadJwt(IdentityError):
    """A token that is cut, altered, of another form, or not signed by the one it names."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `issuer` signed it; `expires_s` is None when it never ends."""

    subject: str
    issuer: str
    name: str
    audience: str
    issued_s: int
    expires_s: int | None
    nats: Mapping[str, Any]

    def valid_at(self, now_s: float, skew_s: float = 0) -> bool:
        return self.expires_s is None or now_s - skew_s < self.expires_s


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a user may publish and subscribe, wildcards allowed; all others are refused.

    `refused` are named all the same: those that a server lets some users have without being told.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    refused: tuple[str, ...] = ()

    def claims(self) -> dict[str, Any]:
        return {"pub": self._part(self.publish), "sub": self._part(self.subscribe)}

    def _part(self, subjects: tuple[str, ...]) -> dict[str, list[str]]:
        if not subjects:  # to the server an empty list of what is allowed would allow everything
            return {"deny": [">"]}
        refused = {"deny": list(self.refused)} if self.refused else {}
        return {"allow": list(subjects), **refused}


def encode(claims: Mapping[str, Any], signer: KeyPair) -> str:
    """Sign `claims`; `iss`, `iat` and `jti` are set here."""
    body = {**claims, "iss": signer.public, "iat": int(time.time())}
    digest = hashlib.new("sha512_256", _json(body)).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_base64(_json(_HEADER))}.{_base64(_json(body))}"
    return f"{signed}.{_base64(signer.sign(signed.encode()))}"


def decode(token: str) -> Claims:
    """Check form and signature. BadJwt otherwise. Whom to trust and what is past is for the caller to say."""
    if len(token) > MAX_TOKEN_CHARS:
        raise BadJwt(f"a token of {len(token)} characters, {MAX_TOKEN_CHARS} are allowed")
    try:
        head, body, signature = token.strip().split(".")
        if json.loads(_unbase64(head)) != _HEADER:
            raise BadJwt("a token of another form than ed25519-nkey")
        claims = _claims(json.loads(_unbase64(body)))
        genuine = verify(claims.issuer, f"{head}.{body}".encode(), _unbase64(signature))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IdentityError) as error:
        if isinstance(error, BadJwt):
            raise
        raise BadJwt("not a NATS JWT: cut or altered") from None
    if not genuine:
        raise BadJwt(f"a token that {claims.issuer} did not sign")
    return claims


def operator_jwt(operator: KeyPair, name: str, system_account: str) -> str:
    """`system_account`: public key of the account that sees the server's own events."""
    return encode(_subject(operator.public, name, "operator", {"system_account": system_account}), operator)


def account_jwt(
    account: str,
    name: str,
    operator: KeyPair,
    *,
    auth_users: Iterable[str] = (),
    signing_keys: Iterable[str] = (),
    jetstream: bool = True,
    imports: Iterable[Mapping[str, Any]] = (),
    exports: Iterable[Mapping[str, Any]] = (),
    max_subscriptions: int = _UNLIMITED,
    max_payload: int = _UNLIMITED,
) -> str:
    """Give an account's token. With `auth_users` (public keys) logins of all others are put to these.

    `max_subscriptions` and `max_payload` (bytes) hold for each connection. Of one that `auth_users` let in,
    nats-server (2.15) knows no others: it passes over those of the user's token.
    `signing_keys` (public) may sign its users in its place.
    """
    store = _UNLIMITED if jetstream else 0
    nats: dict[str, Any] = {
        "limits": {
            "subs": max_subscriptions,
            "data": _UNLIMITED,
            "payload": max_payload,
            "imports": _UNLIMITED,
            "exports": _UNLIMITED,
            "wildcards": True,
            "conn": _UNLIMITED,
            "leaf": _UNLIMITED,
            "mem_storage": store,
            "disk_storage": store,
            "streams": store,
            "consumer": store,
        },
        "default_permissions": {"pub": {}, "sub": {}},
        "imports": list(imports),
        "exports": list(exports),
    }
    if users := list(auth_users):
        nats["authorization"] = {"auth_users": users}
    if keys := list(signing_keys):
        nats["signing_keys"] = keys
    return encode(_subject(account, name, "account", nats), operator)


def user_jwt(
    user: str,
    name: str,
    account: KeyPair,
    permissions: Permissions | None = None,
    *,
    expires_s: int | None = None,
    audience: str = "",
    connections: Iterable[str] = (),
    max_subscriptions: int = _UNLIMITED,
    max_payload: int = _UNLIMITED,
    signed_for: str = "",
) -> str:
    """Give a user's token, by its account's key. Without `permissions` the whole account is open to it.

    `connections`: the ways in that are allowed, such as "LEAFNODE" and "STANDARD"; none named: all.
    `signed_for`: the account's public key, where `account` is only one of its signing keys.
    """
    nats: dict[str, Any] = {
        **(permissions.claims() if permissions else {"pub": {}, "sub": {}}),
        "subs": max_subscriptions,
        "data": _UNLIMITED,
        "payload": max_payload,
    }
    if allowed := list(connections):
        nats["allowed_connection_types"] = allowed
    if signed_for and signed_for != account.public:
        nats["issuer_account"] = signed_for
    claims = _subject(user, name, "user", nats)
    if expires_s is not None:
        claims["exp"] = expires_s
    if audience:
        claims["aud"] = audience
    return encode(claims, account)


def credentials(token: str, user: KeyPair) -> str:
    """Give the text of a credentials file, which nats-server and NATS clients read. It holds the seed."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )


def parse_credentials(text: str) -> tuple[str, KeyPair]:
    """Read the text of a credentials file: a token and the key that it names. Raises IdentityError."""
    found = {
        what: match[1] if (match := re.search(_BLOCK.format(what), text)) else ""
        for what in ("NATS USER JWT", "USER NKEY SEED")
    }
    token, user = found["NATS USER JWT"], KeyPair.from_seed(found["USER NKEY SEED"].encode())
    if decode(token).subject != user.public:
        raise IdentityError("its seed is not that of the user in its JWT")
    return token, user


def _subject(public: str, name: str, kind: str, nats: Mapping[str, Any]) -> dict[str, Any]:
    return {"sub": public, "name": name, "nats": {**nats, "type": kind, "version": 2}}


def _claims(body: Mapping[str, Any]) -> Claims:
    expires, issued, nats = body.get("exp"), body["iat"], body["nats"]
    texts = [body["sub"], body["iss"], body.get("name", ""), body.get("aud", "")]
    if not (
        all(isinstance(text, str) for text in texts)
        and type(issued) is int
        and (expires is None or type(expires) is int)
        and isinstance(nats, dict)
    ):
        raise BadJwt("a token whose claims are of the wrong types")
    subject, issuer, name, audience = texts
    return Claims(subject, issuer, name, audience, issued, expires or None, nats)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise BadJwt("a token that is not base64url") from None
