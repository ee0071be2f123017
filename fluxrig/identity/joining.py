"""How a Rack becomes and stays enrolled: asks until the Mixer has decided, and keeps what it issued."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from fluxrig.errors import IdentityError
from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from fluxrig.identity.enrol import Answer, Request, TokenProof, Unreachable, ask, authority
from fluxrig.identity.folder import Identity, IdentityFolder
from fluxrig.identity.join import JoinToken
from fluxrig.identity.keys import Keys

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 10.0

Tell = Callable[[str], None]


class Refused(IdentityError):
    """The Mixer said no. `code` is its reason for programs."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error or "the Mixer refuses this Rack")
        self.code = answer.code


class Joining:
    """A Rack that asks to be let in by a join token.

    Asking again with the same keys is fine at any time: a use of the token is counted once.
    """

    def __init__(
        self,
        folder: IdentityFolder,
        token: JoinToken,
        *,
        rack: str,
        uns: str,
        host: str = "",
        new_keys: bool = False,
    ) -> None:
        """`host` overrides where the token says that the Mixer is.

        IdentityError when the Rack is enrolled elsewhere, or its identity is damaged, without `new_keys`.
        """
        self._folder = folder
        self._token = token
        self.address = Address(host or token.address.host, token.address.port)
        present = None if new_keys else _same(folder.load(), token, rack)
        self.keys = present.keys() if present else folder.pending_keys()
        proof = TokenProof(id=token.id, secret=token.secret.hex())
        self._request = _request(rack, uns, self.keys, proof)
        self._ca_pem = b""

    async def ask(self) -> Identity | Answer:
        """Ask once. Gives the identity, or the answer while it is not decided. Raises IdentityError."""
        self._ca_pem = self._ca_pem or await authority(self.address, self._token.ca)
        answer = await ask(self.address, self._ca_pem, self._request, self.keys)
        if answer.state == "refused":
            if answer.code == "rejected":
                self._folder.forget_pending()
            raise Refused(answer)
        if answer.state == "approved":
            return self._folder.save(self.keys, answer, self._ca_pem, self.address)
        return answer

    async def wait(self, tell: Tell) -> Identity:
        """Ask until it is decided. `tell` hears what is waited for, each time that changes."""
        told, wait_s = "", _FIRST_S
        while True:
            try:
                found = await self.ask()
                if isinstance(found, Identity):
                    return found
                news, pause_s = self.news(found), found.retry_s
                wait_s = _FIRST_S
            except Unreachable as error:
                news, pause_s, wait_s = f"{error}; trying again", wait_s, min(2 * wait_s, _LONGEST_S)
            if news != told:
                tell(news)
                told = news
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))  # noqa: S311 - jitter

    def news(self, answer: Answer) -> str:
        """Say in a line what an answer that decides nothing means."""
        if answer.state == "busy":
            return f"the Mixer takes no enrolments for the moment: {answer.error}"
        rack = self._request.rack
        return (
            f"waiting for the operator to let in Rack {rack} with key {self.keys.public.fingerprint}: "
            f"mixer racks approve {rack}"
        )


async def refresh(folder: IdentityFolder, identity: Identity, uns: str) -> Identity:
    """Enrol again with the keys that are enrolled, however long ago the certificate ended.

    Raises Refused, with the reason why this Rack is out, Unreachable or Untrusted.
    """
    keys, ca_pem = identity.keys(), identity.ca_pem.read_bytes()
    answer = await ask(identity.enrol, ca_pem, _request(identity.rack, uns, keys), keys)
    if answer.state == "approved":
        return folder.save(keys, answer, ca_pem, identity.enrol)
    if answer.state == "refused":
        raise Refused(answer)
    raise Unreachable(answer.error or f"the Mixer says that this Rack is {answer.state}")


def renewal(identity: Identity) -> bytes:
    """Give what to send over the Snake for the next certificate."""
    return _request(identity.rack, identity.uns, identity.keys()).model_dump_json().encode()


def renewed(folder: IdentityFolder, identity: Identity, answer: Answer) -> Identity:
    """Keep what came back."""
    return folder.save(identity.keys(), answer, identity.ca_pem.read_bytes(), identity.enrol)


def _request(rack: str, uns: str, keys: Keys, token: TokenProof | None = None) -> Request:
    csr = certificates.make_csr(keys.tls, "rack", rack)
    pem = certificates.to_pem(csr).decode("ascii")
    return Request(
        rack=rack, uns=uns, nats_key=keys.nats.public, csr=pem, version=version("fluxrig"), token=token
    )


def _same(identity: Identity | None, token: JoinToken, rack: str) -> Identity | None:
    """Give the identity that is there when it is this Rack's at this Mixer."""
    if identity is None:
        return None
    known = certificates.certificate_from_pem(identity.ca_pem.read_bytes())
    other = (
        f"Rack {identity.rack}"
        if identity.rack != rack
        else f"the Mixer at {identity.host}"
        if certificates.fingerprint(known) != token.ca
        else ""
    )
    if other:
        raise IdentityError(
            f"{identity.folder} holds the identity of {other}; give this Rack a state folder of its own, "
            "or replace that identity with --new-keys"
        )
    return identity
