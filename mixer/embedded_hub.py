"""The hub that the Mixer runs by itself: a nats-server whose authority it is, on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from fluxrig.bus import Bus, Hub, ensure_hub_streams, limit_hub_streams
from mixer.authority.door import Door
from mixer.authority.identity import Authority
from mixer.authority.projects import Accounts
from mixer.enrolment.desk import Entrance
from mixer.enrolment.issuer import Issuer
from mixer.enrolment.registry import Registry
from mixer.folder import Access, Folder
from mixer.project import Project


@dataclass(frozen=True, slots=True)
class Ports:
    """Where an embedded hub listens, and how safe its disk is."""

    host: str
    """Where Racks dial in."""
    port: int
    """0: a free one."""
    client_port: int
    """On loopback. 0: a free one."""
    sync: str
    """When the streams reach the disk: "always", or an interval such as "1s"."""


class EmbeddedHub:
    """Runs while it is entered. `names` are those by which Racks reach it."""

    def __init__(
        self, folder: Folder, authority: Authority, registry: Registry, ports: Ports, names: tuple[str, ...]
    ) -> None:
        self._folder, self._authority, self._registry = folder, authority, registry
        self._ports = ports
        self._accounts = Accounts(authority, folder.hub / "tls", names)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        await asyncio.to_thread(self._accounts.issue_certificate)
        ports = self._ports
        self.server = await stack.enter_async_context(
            Hub(
                self._folder.hub,
                self._accounts.trust(),
                client_port=ports.client_port,
                leaf_host=ports.host,
                leaf_port=ports.port,
                sync=ports.sync,
            )
        )
        system = await stack.enter_async_context(await self.server.connect("mixer", self._accounts.system()))
        self._door = Door(self._authority, self._registry, self.server, system)
        self.control = await stack.enter_async_context(
            await self.server.connect("mixer", self._accounts.control())
        )
        self.entrance = Entrance(self.server.leaf_address[1])

    @property
    def projects(self) -> list[str]:
        """The names of the projects that there are here."""
        return list(self._authority.projects)

    @property
    def access(self) -> Access:
        """How commands reach the Mixer."""
        return Access(self.server.url, self._accounts.control())

    def readers(self) -> dict[str, Access]:
        """Give by project how commands read its streams."""
        return {name: Access(self.server.url, auth) for name, auth in self._accounts.readers().items()}

    def issuer(self, life_s: float) -> Issuer:
        """Give what signs certificates and claims of Racks."""
        return Issuer(self._authority.ca, self._authority.account, life_s)

    async def connect(self, project: str) -> Bus:
        """Open a project to its Racks, with its streams, and give the Mixer's connection there."""
        bus = await self.server.connect(f"mixer {project}", self._accounts.project(project))
        try:
            await ensure_hub_streams(bus)
            await limit_hub_streams(bus, self._folder.hub, len(self._authority.projects))
            await self._door.open_project(project, bus)
        except BaseException:
            await bus.close()
            raise
        return bus

    async def add_project(self, name: str) -> None:
        """Make a project. Raises FluxrigError, OSError."""
        await asyncio.to_thread(self._authority.add_project, name)
        await self.server.believe(self._accounts.trust())

    async def run(self, _: Mapping[str, Project]) -> None:
        """Watch the door, and keep the certificate good, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._door.run(), name="door")
            tasks.create_task(self._accounts.keep_certificate(self.server), name="certificate")

    @property
    def listening(self) -> str:
        """HOST:PORT that leaves dial."""
        host, port = self.server.leaf_address
        return f"{host}:{port}"

    def told(self) -> dict[str, Any]:
        """Give what a status says of it."""
        return {"restarts": self.server.restarts}
