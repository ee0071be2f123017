"""Who asks whom: what a protocol says about a connection once it knows it, and what is counted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fluxrig.cbor import Fixed
from gears.network_sniffer.link import Link

End: TypeAlias = tuple[str, int]
"""IP address and port."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What observers have to know of a protocol."""

    name: str
    """As in `modbus/tcp`."""
    writes: frozenset[int]
    """The function codes that change something in the server."""
    tables: frozenset[str]
    """The tables in which a value stays at its address: what changes there is told."""


class Flow:
    """A client, a server, and the link between them."""

    __slots__ = ("client", "data", "link", "server", "server_key", "traits")

    def __init__(self, client: End, server: End, traits: Traits, link: Link) -> None:
        self.client = client
        self.server = server
        self.traits = traits
        self.link = link
        self.data = Fixed({"client": end_fields(client), "server": end_fields(server)})
        """As events tell it."""
        self.server_key = f"{server[0]} {server[1]}"


def end_fields(end: End) -> dict[str, str | int]:
    return {"ip": end[0], "port": end[1]}
