"""Join tokens as the Mixer keeps them: who may ask to be let in. Of a secret only the digest is kept."""

from __future__ import annotations

import getpass
import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from fluxrig.durable import write_durably
from fluxrig.errors import FluxrigError
from fluxrig.identity.join import ID_BYTES, SECRET_BYTES
from mixer.enrolment.refusal import Refusal

MAX_TOKENS: Final = 1000
KEPT_S: Final = 7 * 86_400
"""How long a token is still listed after its end, so that its use can be looked up."""


@dataclass(slots=True)
class Token:
    """One token. Times are seconds since the Unix epoch; `rack` and `uns` are "" where the Rack chooses."""

    id: str
    digest: str
    """SHA-256 of the secret. It is random, 128 bits, so nothing slower is needed."""
    project: str
    rack: str
    uns: str
    uses: int
    expires_s: float
    approve: bool
    """Whether a Rack that shows it needs no further approval."""
    created_s: float
    created_by: str
    used: int = 0
    revoked: bool = False

    def ended(self, now_s: float) -> str:
        """Say why it is not good any more, or ""."""
        if self.revoked:
            return "revoked"
        if self.used >= self.uses:
            return "used up"
        return "expired" if now_s >= self.expires_s else ""


_FILE: Final = TypeAdapter(list[Token])


class Tokens:
    """All tokens, kept in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens = {token.id: token for token in _load(path)}

    def create(
        self,
        now_s: float,
        *,
        project: str,
        rack: str = "",
        uns: str = "",
        uses: int = 1,
        life_s: float = 3600.0,
        approve: bool = False,
        by: str = "",
    ) -> tuple[Token, bytes]:
        """Make a token and give it with its secret, which is kept nowhere."""
        self._forget_old(now_s)
        if len(self._tokens) >= MAX_TOKENS:
            raise FluxrigError(f"there are {MAX_TOKENS} join tokens; revoke some, or let them expire")
        secret = secrets.token_bytes(SECRET_BYTES)
        token = Token(
            id=secrets.token_hex(ID_BYTES),
            digest=sha256(secret).hexdigest(),
            project=project,
            rack=rack,
            uns=uns,
            uses=uses,
            expires_s=now_s + life_s,
            approve=approve,
            created_s=now_s,
            created_by=by or getpass.getuser(),
        )
        self._tokens[token.id] = token
        self._save()
        return token, secret

    def check(self, id_: str, secret: bytes, now_s: float) -> Token:
        """Give the token that was shown. Raises Refusal when it is none of ours, or good no more."""
        token = self._tokens.get(id_)
        digest = sha256(secret).hexdigest()
        if token is None or not hmac.compare_digest(token.digest, digest):
            raise Refusal("token-unknown", "the join token is not one of this Mixer's", stranger=True)
        if ended := token.ended(now_s):
            code = f"token-{ended.replace(' ', '-')}"
            reason = f"the join token {token.id} is {ended}; ask the operator for a new one"
            raise Refusal(code, reason, stranger=True)
        return token

    def use(self, token: Token) -> None:
        """Count one use; on disk when this returns."""
        token.used += 1
        self._save()

    def revoke(self, id_: str) -> Token:
        """End a token before its time. Raises FluxrigError when there is none of that name."""
        token = self._tokens.get(id_)
        if token is None:
            raise FluxrigError(f"there is no join token {id_}; see mixer join-token list")
        token.revoked = True
        self._save()
        return token

    def list(self, now_s: float) -> list[Token]:
        """Give all tokens, oldest first; those that ended long ago are forgotten."""
        self._forget_old(now_s)
        return sorted(self._tokens.values(), key=lambda token: token.created_s)

    def _forget_old(self, now_s: float) -> None:
        self._tokens = {
            token.id: token for token in self._tokens.values() if now_s < token.expires_s + KEPT_S
        }

    def _save(self) -> None:
        write_durably(self._path, _FILE.dump_json(list(self._tokens.values()), indent=1))


def _load(path: Path) -> list[Token]:
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError):
        raise FluxrigError(
            f"{path} can't be read; restore it, or remove it: join tokens that are out are void then"
        ) from None
