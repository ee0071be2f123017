"""Join tokens: the one string by which a new Rack finds its Mixer, knows it, and may ask to be let in.

    fluxrig-join-1.<base64url of a CBOR map>.<checksum>

The checksum tells a string that was cut or mistyped before anything is sent anywhere.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from fluxrig import cbor
from fluxrig.errors import CborError, IdentityError
from fluxrig.identity.address import Address

PREFIX: Final = "fluxrig-join-1"
VARIABLE: Final = "FLUXRIG_JOIN"
ID_BYTES: Final = 6
SECRET_BYTES: Final = 16
_MAX_CHARS: Final = 2048
_CHECK_CHARS: Final = 6


class BadJoinToken(IdentityError):
    """A text that is no join token, or no longer a whole one. Never repeats it."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`ca` is the SHA-256 of the Mixer's certificate authority in hex; `rack` and `uns` are "" where free."""

    address: Address
    """Where the Mixer takes enrolments."""
    ca: str
    id: str
    """What the Mixer's operator calls this token, in hex."""
    secret: bytes = field(repr=False)
    rack: str = ""
    uns: str = ""

    def __str__(self) -> str:
        """Hide the secret: use `encode` to hand the token over."""
        return f"join token {self.id} for {self.address}"

    def encode(self) -> str:
        fields = {
            "a": str(self.address),
            "f": bytes.fromhex(self.ca),
            "i": bytes.fromhex(self.id),
            "s": self.secret,
            **({"r": self.rack} if self.rack else {}),
            **({"u": self.uns} if self.uns else {}),
        }
        body = cbor.encode(fields)
        return f"{PREFIX}.{_base64(body)}.{_check(body)}"

    @classmethod
    def decode(cls, text: str) -> JoinToken:
        """Read a token. Raises BadJoinToken, which says what to do."""
        try:
            return cls._of(cbor.decode_strict(_body(text.strip())))
        except (CborError, KeyError, TypeError, ValueError, AttributeError):
            raise BadJoinToken("this join token is of another version of fluxrig; create a new one") from None

    @classmethod
    def _of(cls, fields: Any) -> JoinToken:
        address, ca, id_, secret = (fields[key] for key in "afis")
        rack, uns = fields.get("r", ""), fields.get("u", "")
        texts_fit = all(isinstance(text, str) for text in (address, rack, uns))
        if not texts_fit or (len(ca), len(id_), len(secret)) != (32, ID_BYTES, SECRET_BYTES):
            raise ValueError("fields of the wrong kind")
        return cls(Address.parse(address), ca.hex(), id_.hex(), bytes(secret), rack, uns)


def find(given: str | None, stdin_is_fine: bool = True) -> str:
    """Give the text of a token from what a user gave: the token, a file with it, or `-` for standard input.

    None stands for the environment variable FLUXRIG_JOIN. Raises BadJoinToken.
    """
    given = given or os.environ.get(VARIABLE, "")
    if not given:
        raise BadJoinToken(f"there is no join token; give it, a file with it, - for stdin, or set {VARIABLE}")
    if given == "-" and stdin_is_fine:
        return sys.stdin.readline(_MAX_CHARS)
    return given if given.lstrip().startswith(f"{PREFIX}.") else read(Path(given))


def read(path: Path) -> str:
    """Read a token's file, which others may not read. Raises BadJoinToken."""
    name = re.sub(r"[^\x20-\x7e]", "?", str(path)[:200])
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadJoinToken(f"{name!r} is neither a join token nor a file with one")
        if status.st_mode & stat.S_IRWXO:
            raise BadJoinToken(f"the join token in {name!r} is open to everyone; run chmod 600 on it")
        with path.open("rb") as file:
            return file.read(_MAX_CHARS).decode("ascii", "replace")
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "not a path"
        raise BadJoinToken(f"no join token at {name!r}: {reason.lower()}") from None


def _body(text: str) -> bytes:
    prefix, _, rest = text.partition(".")
    if prefix != PREFIX or len(text) > _MAX_CHARS:
        raise BadJoinToken(f"this is no join token: one begins with {PREFIX}. (see mixer join-token create)")
    encoded, _, check = rest.partition(".")
    try:
        body = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        body = b""
    if not body or check != _check(body):
        raise BadJoinToken("this join token is cut or mistyped; copy the whole of it")
    return body


def _check(body: bytes) -> str:
    return _base64(sha256(body).digest())[:_CHECK_CHARS]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
