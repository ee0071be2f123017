"""What the hub is told of the Mixer's projects, and how the Mixer itself comes in.

Each project is an account, an isolated world, in which the Mixer's own user answers for every other login
(auth callout). Operators' commands have an account without Racks, `control`. All these users are made anew at
each start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fluxrig.bus import Credentials, Hub, Trust
from fluxrig.durable import write_durably
from fluxrig.errors import ServerError
from fluxrig.identity import certificates
from fluxrig.identity.jwt import Permissions, account_jwt, operator_jwt, user_jwt
from fluxrig.identity.nkey import KeyPair, Kind
from mixer.authority.identity import Authority
from mixer.authority.rights import MAX_PAYLOAD_BYTES, MAX_SUBSCRIPTIONS

SERVER_LIFE_S: Final = 30 * 86_400
"""Of the certificate that the hub shows to leaves."""

_READING: Final = Permissions(
    publish=("$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.>", "$JS.ACK.>"), subscribe=("_INBOX.>",)
)

_log = logging.getLogger("fluxrig.mixer")


class Accounts:
    """The hub's accounts as of now, with the Mixer's user in each. `tls` is a folder for its certificate."""

    def __init__(self, authority: Authority, tls: Path, names: Sequence[str]) -> None:
        self._authority = authority
        self._tls = tls
        self._names = [*names, "localhost", "127.0.0.1", "::1"]
        # nats-server takes a new configuration only with the operator's claims as they were, to the second
        self._operator = operator_jwt(authority.operator, "fluxrig", authority.system.public)
        self._user = KeyPair.create(Kind.USER)
        self._operators = KeyPair.create(Kind.USER)

    def trust(self) -> Trust:
        """Give what the hub is to believe, with its certificate as it is on disk."""
        authority = self._authority
        accounts = {
            authority.system.public: account_jwt(
                authority.system.public, "system", authority.operator, jetstream=False
            ),
            authority.control.public: account_jwt(
                authority.control.public, "control", authority.operator, jetstream=False
            ),
        }
        for name, key in authority.projects.items():
            accounts[key.public] = account_jwt(
                key.public,
                name,
                authority.operator,
                auth_users=[self._user.public, self._operators.public],
                max_subscriptions=MAX_SUBSCRIPTIONS,
                max_payload=MAX_PAYLOAD_BYTES,
            )
        ca = authority.folder / "ca.pem"
        return Trust(self._operator, authority.system.public, accounts, ca, self._certificate, self._key)

    def issue_certificate(self) -> None:
        """Make the hub's certificate and its key, good for SERVER_LIFE_S."""
        certificate, key = certificates.issue_server(self._authority.ca, self._names, SERVER_LIFE_S)
        self._tls.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._key, certificates.key_to_pem(key))
        write_durably(self._certificate, certificates.to_pem(certificate))

    async def keep_certificate(self, hub: Hub) -> None:
        """Give the hub a new certificate in good time, until cancelled. Links that are up stay up."""
        while True:
            await asyncio.sleep(SERVER_LIFE_S / 3)
            try:
                await asyncio.to_thread(self.issue_certificate)
                await hub.believe(self.trust())
            except (OSError, ServerError) as error:
                _log.error("the hub keeps its old certificate: %s", error)

    def project(self, name: str) -> Credentials:
        """Give what the Mixer shows in a project's account."""
        return _credentials(self._user, self._authority.projects[name])

    def control(self) -> Credentials:
        """Give what the Mixer and operators' commands show to each other."""
        return _credentials(self._operators, self._authority.control)

    def readers(self) -> dict[str, Credentials]:
        """Give by project what operators' commands show to read its streams, and do nothing else."""
        return {name: reader(self._operators, account) for name, account in self._authority.projects.items()}

    def system(self) -> Credentials:
        """Give what opens the hub's own account."""
        return _credentials(self._user, self._authority.system)

    @property
    def _certificate(self) -> Path:
        return self._tls / "leaf.pem"

    @property
    def _key(self) -> Path:
        return self._tls / "leaf.key"


def reader(user: KeyPair, account: KeyPair, signed_for: str = "") -> Credentials:
    """Give what a user shows to read the streams of an account; see `mixer.authority.rights.claims`."""
    return Credentials(user_jwt(user.public, "operator", account, _READING, signed_for=signed_for), user)


def _credentials(user: KeyPair, account: KeyPair) -> Credentials:
    return Credentials(user_jwt(user.public, "mixer", account), user)
