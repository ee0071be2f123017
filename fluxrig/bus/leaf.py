"""The Rack's own nats-server, and what it must know of the hub."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.bus.server import NatsServer
from fluxrig.errors import ServerError

LEAF_USER: Final = "rack"


@dataclass(frozen=True, slots=True)
class LeafRemote:
    """Where a leaf dials out to, and the token that both ends share."""

    host: str
    port: int
    token: str

    def __repr__(self) -> str:
        return f"LeafRemote({self.host}:{self.port})"


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
        if rack == "hub" or not re.fullmatch(r"[A-Za-z0-9_-]+", rack):
            raise ServerError(
                f"a Rack can't be called {rack!r}: use letters, digits, '-' and '_', and not 'hub'"
            )
        super().__init__(rack, store_dir, client_port=client_port, sync=sync, on_trouble=on_trouble)
        self.remote = remote

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        if self.remote is not None:
            # Streams travel by sourcing alone. Live, a message would reach every leaf whose stream has the
            # same subjects, and be stored there a second time.
            kept = ["fluxrig.uns.>", "fluxrig.dead.>"]
            url = f"nats-leaf://{LEAF_USER}:{self.remote.token}@{self.remote.host}:{self.remote.port}"
            config["leafnodes"] = {
                "reconnect": "1s",
                "remotes": [{"urls": [url], "deny_imports": kept, "deny_exports": kept}],
            }
        return config
