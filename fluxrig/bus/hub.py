"""The Mixer's nats-server, which leaves dial."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fluxrig.bus.leaf import LEAF_USER, LeafRemote
from fluxrig.bus.port import ReservedPort
from fluxrig.bus.server import HOST, NatsServer
from fluxrig.bus.store import write_private

LEAF_PORT: Final = 7422


class Hub(NatsServer):
    """The Mixer's server: takes leaves on `leaf_port` (0: a free one) that show `leaf_token`.

    Without a token one is made and kept in the store.
    """

    def __init__(
        self,
        store_dir: Path,
        *,
        client_port: int = 0,
        leaf_host: str = HOST,
        leaf_port: int = LEAF_PORT,
        leaf_token: str | None = None,
        sync: str = "always",
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__("hub", store_dir, client_port=client_port, sync=sync, on_trouble=on_trouble)
        self._leaf_host = leaf_host
        self._leaf_port = leaf_port
        self._leaf_token = leaf_token

    @property
    def remote(self) -> LeafRemote:
        """What a leaf needs to dial this hub, once it has started."""
        assert self._leaf_token is not None  # noqa: S101 - set by start()
        return LeafRemote(self._leaf_host, self._ports["leaf"].port, self._leaf_token)

    def _reserve_ports(self) -> None:
        super()._reserve_ports()
        self._ports["leaf"] = ReservedPort(self._leaf_port, self._leaf_host)
        if self._leaf_token is None:
            self._leaf_token = _kept_token(self.store_dir / "leaf.token")

    def _config(self) -> dict[str, Any]:
        remote = self.remote
        return super()._config() | {
            "leafnodes": {
                "host": remote.host,
                "port": remote.port,
                "authorization": {"user": LEAF_USER, "password": remote.token},
            }
        }


def _kept_token(path: Path) -> str:
    """Give the token in the file, made on first use, so that leaves know the hub again after its restart."""
    with suppress(OSError):
        if token := path.read_text("utf-8").strip():
            return token
    token = secrets.token_urlsafe(32)
    write_private(path, token)
    return token
