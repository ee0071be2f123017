"""The Rack's own nats-server, and what it must know of the hub."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from fluxrig.bus.auth import Token
from fluxrig.bus.connection import Bus
from fluxrig.bus.server import NatsServer
from fluxrig.errors import ServerError
from fluxrig.identity.address import Address
from fluxrig.identity.folder import Identity
from fluxrig.identity.names import RESERVED

COMPRESSION: Final = "s2_fast"
"""On every link: about a quarter of the bytes for no more CPU, since there is less to encrypt. By round trip,
as s2_auto chooses, near links are plain and far ones s2_best: five times the leaf's CPU for another tenth."""


@dataclass(frozen=True, slots=True)
class LeafRemote:
    """Where a leaf dials out to, any of `addresses`, and the files by which both ends know each other.

    `ca` is the authority that the hub's certificate must come from, None for those that the machine trusts;
    `certificate`, `key` (TLS) and `credentials` (claims and the key they name) are the Rack's own.
    """

    addresses: tuple[Address, ...]
    ca: Path | None
    certificate: Path
    key: Path
    credentials: Path
    compression: str = COMPRESSION

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """Give where an enrolled Rack dials, and with what."""
        return cls(
            identity.dials,
            ca=identity.leaf_ca,
            certificate=identity.tls_pem,
            key=identity.tls_key,
            credentials=identity.credentials,
        )

    def config(self) -> dict[str, Any]:
        """Give nats-server's entry for it."""
        return {
            "urls": [f"tls://{address}" for address in self.addresses],
            "credentials": str(self.credentials),
            "compression": self.compression,
            "tls": {
                **({"ca_file": str(self.ca)} if self.ca else {}),
                "cert_file": str(self.certificate),
                "key_file": str(self.key),
                "min_version": "1.3",
            },
        }


class Leaf(NatsServer):
    """A Rack's own server: JetStream under the domain `rack`, linked to a hub when `remote` is given."""

    def __init__(
        self,
        rack: str,
        store_dir: Path,
        remote: LeafRemote | None = None,
        *,
        client_port: int = 0,
        sync: str = "always",
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        if rack in RESERVED or not re.fullmatch(r"[A-Za-z0-9_-]+", rack):
            raise ServerError(
                f"a Rack can't be called {rack!r}: use letters, digits, '-' and '_', "
                f"and not {' or '.join(map(repr, sorted(RESERVED)))}"
            )
        super().__init__(rack, store_dir, client_port=client_port, sync=sync, on_trouble=on_trouble)
        self.remote = remote

    async def connect(self, name: str) -> Bus:
        """Open a connection to this server. Answers from the Mixer reach the Rack's own inboxes alone."""
        return await Bus.connect(self.url, Token(self.token), name, inbox=f"_INBOX.{self.name}")

    async def dial(self, remote: LeafRemote | None) -> None:
        """Dial `remote` from now on, or nobody; also when the files that it names have changed.

        A link that is up stays up with what it has shown; the next one shows what the files hold now.
        """
        self.remote = remote
        await self.reload()

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        if self.remote is not None:
            # Streams travel by sourcing alone. Live, a message would reach every leaf whose stream has the
            # same subjects, and be stored there a second time.
            kept = ["fluxrig.uns.>", "fluxrig.dead.>"]
            remote = self.remote.config() | {"deny_imports": kept, "deny_exports": kept}
            config["leafnodes"] = {"reconnect": "1s", "remotes": [remote]}
        return config | {"authorization": {"token": self.token}}
