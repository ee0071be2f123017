"""The Mixer's nats-server, which leaves dial: operator mode, mutual TLS, one account for each project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.bus.auth import Auth
from fluxrig.bus.connection import Bus
from fluxrig.bus.leaf import COMPRESSION
from fluxrig.bus.port import ReservedPort
from fluxrig.bus.server import HOST, NatsServer

LEAF_PORT: Final = 7422
AUTH_TIMEOUT_S: Final = 3.0  # the Mixer answers in milliseconds; a leaf that it missed dials again
TLS_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a hub believes. Claims are not secret; the key's file is, and is 0600.

    `accounts` are accounts' claims by public key. `certificate` and `key` are what the hub shows to leaves,
    `ca` what theirs must be issued by.
    """

    operator: str
    system_account: str
    accounts: Mapping[str, str]
    ca: Path
    certificate: Path
    key: Path

    def config(self) -> dict[str, Any]:
        """Give the part of nats-server's configuration that all ways in have in common."""
        return {
            "operator": self.operator,
            "system_account": self.system_account,
            "resolver": "MEMORY",
            "resolver_preload": dict(self.accounts),
            "authorization": {"timeout": AUTH_TIMEOUT_S},
        }

    def tls(self) -> dict[str, Any]:
        """Give the TLS part for the port that leaves dial."""
        return {
            "cert_file": str(self.certificate),
            "key_file": str(self.key),
            "ca_file": str(self.ca),
            "verify": True,
            "min_version": "1.3",
            "timeout": TLS_TIMEOUT_S,
        }


class ControlServer(NatsServer):
    """A server without streams and leaves, on loopback, by which commands reach a Mixer."""

    def __init__(self, store_dir: Path, trust: Trust, *, client_port: int = 0) -> None:
        super().__init__("control", store_dir, client_port=client_port)
        self._trust = trust

    async def connect(self, name: str, auth: Auth) -> Bus:
        """Open a connection to this server."""
        return await Bus.connect(self.url, auth, name)

    def _config(self) -> dict[str, Any]:
        config = super()._config() | self._trust.config()
        del config["jetstream"]
        return config


class Hub(NatsServer):
    """The Mixer's server. Leaves dial `leaf_port` (0: a free one); the client port is on loopback alone."""

    def __init__(
        self,
        store_dir: Path,
        trust: Trust,
        *,
        client_port: int = 0,
        leaf_host: str = HOST,
        leaf_port: int = LEAF_PORT,
        sync: str = "always",
        compression: str = COMPRESSION,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__("hub", store_dir, client_port=client_port, sync=sync, on_trouble=on_trouble)
        self._trust = trust
        self._leaf_host = leaf_host
        self._leaf_port = leaf_port
        self._compression = compression

    @property
    def leaf_address(self) -> tuple[str, int]:
        """Host and port that leaves dial, once it has started."""
        return self._leaf_host, self._ports["leaf"].port

    async def believe(self, trust: Trust) -> None:
        """Believe `trust` from now on. Links that it does not touch stay up."""
        self._trust = trust
        await self.reload()

    async def connect(self, name: str, auth: Auth) -> Bus:
        """Open a connection to this server."""
        return await Bus.connect(self.url, auth, name)

    def _reserve_ports(self) -> None:
        super()._reserve_ports()
        self._ports["leaf"] = ReservedPort(self._leaf_port, self._leaf_host)

    def _config(self) -> dict[str, Any]:
        host, port = self.leaf_address
        leafnodes = {
            "host": host,
            "port": port,
            "compression": self._compression,
            "authorization": {"timeout": AUTH_TIMEOUT_S},
            "tls": self._trust.tls(),
        }
        # Streams ask a leaf under a subject with its name. Without, all leaves could answer for each other:
        # the hub tells all that may of the subjects on which it waits.
        flags = {"feature_flags": {"js_api_reply_v2": True}}
        return super()._config() | self._trust.config() | {"leafnodes": leafnodes} | flags
