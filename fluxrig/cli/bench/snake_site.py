"""A hub and Racks for `fluxrig bench snake`: real servers, as a Mixer and its Racks run them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fluxrig.bus import (
    UNS,
    Bus,
    Hub,
    Leaf,
    LeafLimits,
    LeafRemote,
    Publisher,
    add_source,
    ensure_hub_streams,
    ensure_leaf_streams,
    watch_sources,
)
from fluxrig.bus.leaf import COMPRESSION
from fluxrig.clock import SystemClock
from fluxrig.durable import write_durably
from fluxrig.gear import Context
from fluxrig.identity import certificates, jwt
from fluxrig.identity.address import Address
from fluxrig.identity.keys import Keys
from fluxrig.identity.names import DEFAULT_PROJECT
from fluxrig.tasks import end
from mixer.authority.door import Door
from mixer.authority.identity import RACKS, Authority
from mixer.authority.projects import Accounts
from mixer.enrolment.issuer import Issued, Issuer
from mixer.enrolment.registry import Asked, Registry
from racks.uplink import Uplink

HOST: Final = "127.0.0.1"
BY: Final = "fluxrig bench"


@dataclass(frozen=True, slots=True)
class Member:
    """A Rack: its server, and its uplink, which stores in it."""

    name: str
    uns: str
    leaf: Leaf
    bus: Bus
    publisher: Publisher
    uplink: Uplink


class Site:
    """The hub with all that decides who may come in, and as many Racks as are asked for.

    What a Mixer does with the messages afterwards, its audit, is not here: it has a benchmark of its own.
    """

    def __init__(self, folder: Path, hub: Hub, bus: Bus, authority: Authority, registry: Registry) -> None:
        self.hub = hub
        self.bus = bus
        self._folder = folder
        self._authority = authority
        self._registry = registry

    @asynccontextmanager
    async def rack(
        self, name: str, *, port: int = 0, sync: str = "always", compression: str = COMPRESSION
    ) -> AsyncIterator[Member]:
        """Enrol a Rack and run its server, which dials the hub at `port` (0: where it listens)."""
        uns = f"bench/{name}"
        remote = self._enrol(name, uns, port or self.hub.leaf_address[1], compression)
        async with AsyncExitStack() as stack:
            leaf = await stack.enter_async_context(
                Leaf(name, self._folder / name / "leaf", remote, sync=sync)
            )
            bus = await stack.enter_async_context(await leaf.connect(name))
            await ensure_leaf_streams(bus, name, leaf.store_dir, LeafLimits())
            publisher = Publisher(bus, UNS)
            await publisher.open()
            stack.push_async_callback(publisher.close)
            await add_source(self.bus, UNS, name, uns)
            context = Context(rack=name, gear="uplink", uns=uns, clock=SystemClock())
            yield Member(name, uns, leaf, bus, publisher, Uplink(context, publisher.store))

    def _enrol(self, name: str, uns: str, port: int, compression: str) -> LeafRemote:
        """Let a Rack in as an operator would, and keep what it is issued."""
        keys = Keys.create()
        asked = Asked(keys.public, uns, HOST, version("fluxrig"), BY, 0)
        self._registry.approve(self._registry.ask(DEFAULT_PROJECT, name, asked), BY)
        issuer = Issuer(self._authority.ca, self._authority.account)
        request = certificates.to_pem(certificates.make_csr(keys.tls, DEFAULT_PROJECT, name)).decode("ascii")
        issued = issuer.issue(DEFAULT_PROJECT, name, uns, keys.nats.public, request)
        files = _keep(self._folder / name / "identity", self._authority, keys, issued)
        return LeafRemote((Address(HOST, port),), *files, compression=compression)


@asynccontextmanager
async def site(folder: Path, *, sync: str = "always", compression: str = COMPRESSION) -> AsyncIterator[Site]:
    """Run a hub in `folder` on free ports."""
    async with AsyncExitStack() as stack:
        authority = Authority.open(folder / "identity")
        registry = Registry(folder / "identity" / RACKS)
        accounts = Accounts(authority, folder / "tls", [HOST])
        accounts.issue_certificate()
        hub = await stack.enter_async_context(
            Hub(folder / "hub", accounts.trust(), leaf_port=0, sync=sync, compression=compression)
        )
        system = await stack.enter_async_context(await hub.connect("mixer", accounts.system()))
        bus = await stack.enter_async_context(await hub.connect("mixer", accounts.project(DEFAULT_PROJECT)))
        door = Door(authority, registry, hub, system)
        await door.open_project(DEFAULT_PROJECT, bus)
        await ensure_hub_streams(bus)
        tasks = [asyncio.create_task(door.run()), asyncio.create_task(watch_sources(bus))]
        stack.push_async_callback(end, tasks)
        yield Site(folder, hub, bus, authority, registry)


def _keep(folder: Path, authority: Authority, keys: Keys, issued: Issued) -> tuple[Path, Path, Path, Path]:
    """Write what a leaf shows and believes; give authority, certificate, key and credentials."""
    folder.mkdir(mode=0o700, parents=True)
    contents = {
        "ca.pem": certificates.to_pem(authority.ca.certificate),
        "tls.pem": issued.certificate.encode(),
        "tls.key": certificates.key_to_pem(keys.tls),
        "user.creds": jwt.credentials(issued.jwt, keys.nats).encode(),
    }
    paths = []
    for name, content in contents.items():
        write_durably(folder / name, content)
        paths.append(folder / name)
    ca, certificate, key, credentials = paths
    return ca, certificate, key, credentials
