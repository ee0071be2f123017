"""The Mixer as it runs: its authority, the hub, who is let in, and its projects."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from fluxrig.bus import LEAF_PORT, Bus
from fluxrig.errors import FluxrigError
from fluxrig.tasks import end, only_error
from mixer.audit.writer import Roll
from mixer.authority.identity import RACKS, Authority
from mixer.embedded_hub import EmbeddedHub, Ports
from mixer.enrolment.issuer import CERTIFICATE_LIFE_S
from mixer.enrolment.operator import SUBJECT as OPERATOR
from mixer.enrolment.registry import Rack, Registry
from mixer.enrolment.service import Enrolment
from mixer.external_hub import External, ExternalHub
from mixer.folder import Folder
from mixer.home import Home, Keeping, opened
from mixer.live import ASK as LIVE
from mixer.project import Project
from mixer.projects import PROJECTS
from mixer.upkeep import UPKEEP, answer

STATUS: Final = "fluxrig.mixer.status"
RENEW: Final = "fluxrig.mixer.*.renew"
ENROL_PORT: Final = 7423
_ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - told apart, not bound

_log = logging.getLogger("fluxrig.mixer")


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen when a Mixer starts."""

    host: str = "127.0.0.1"
    """Where Racks dial in."""
    port: int = LEAF_PORT
    """0: a free one."""
    enrol_host: str = "127.0.0.1"
    """Where Racks enrol."""
    enrol_port: int = ENROL_PORT
    """0: a free one."""
    advertise: tuple[str, ...] = ()
    """Names and addresses by which Racks reach it, the usual one first; else the host or the machine's."""
    certificate_life_s: float = CERTIFICATE_LIFE_S
    """Of Racks."""
    client_port: int = 0
    """Of the hub, on loopback. 0: a free one."""
    roll: Roll = field(default_factory=Roll)
    sync: str = "always"
    """When the hub's streams reach the disk: "always", or an interval such as "1s"."""
    external: External | None = None
    """The NATS that is used in place of a hub of the Mixer's own."""
    keeping: Keeping = field(default_factory=Keeping)

    @property
    def names(self) -> tuple[str, ...]:
        if self.advertise:
            return self.advertise
        host = self.enrol_host if self.external else self.host
        return (socket.gethostname() if host in _ANYWHERE else host,)


class Mixer:
    """One Mixer on one data folder."""

    def __init__(self, folder: Folder, options: Options | None = None) -> None:
        self._folder = folder
        self._options = options or Options()
        self._projects: dict[str, Project] = {}

    async def run(
        self, stop: asyncio.Event, on_ready: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Run until `stop`, then commit what is held. `on_ready` hears where Racks dial in.

        FluxrigError when it can't start: the folder is taken, a port is in use, the manifest was changed.
        """
        async with opened(self._folder, self._options.keeping, stop) as home, AsyncExitStack() as stack:
            if home is None:
                return
            self._stack, self._home = stack, home
            await self._open(home)
            where = self._where()
            with self._folder.announced():
                self._announce()
                _log.info("Racks dial in at %(listening)s and enrol at %(enrol)s; data in %(data)s", where)
                if on_ready is not None:
                    on_ready(where)
                await self._work(home, stop)
                self._registry.save()

    async def _open(self, home: Home) -> None:
        """Start the hub, or reach it, and open all that is served on it."""
        options = self._options
        self._registry = Registry(self._folder.identity / RACKS)
        self._hub = self._make_hub(home.authority)
        await self._stack.enter_async_context(self._hub)
        self._enrolment = await self._stack.enter_async_context(
            Enrolment(
                folder=self._folder.identity,
                registry=self._registry,
                issuer=self._hub.issuer(options.certificate_life_s),
                entrance=self._hub.entrance,
                host=options.enrol_host,
                port=options.enrol_port,
                names=options.names,
                health=self._health,
            )
        )
        for name in self._hub.projects:
            await self._open_project(name)
        await self._serve(self._hub.control)

    def _make_hub(self, authority: Authority) -> EmbeddedHub | ExternalHub:
        options = self._options
        if options.external:
            return ExternalHub(self._folder, authority, self._registry, options.external, options.client_port)
        ports = Ports(options.host, options.port, options.client_port, options.sync)
        return EmbeddedHub(self._folder, authority, self._registry, ports, options.names)

    def _announce(self) -> None:
        """Say how operators' commands reach this Mixer and its projects."""
        self._folder.announce(self._hub.access, self._hub.readers(), self._where()["enrol"])

    async def _open_project(self, name: str) -> Project:
        bus = await self._stack.enter_async_context(await self._hub.connect(name))
        project = Project(name, bus, self._home.store, self._registry, self._options.roll)
        await project.open()
        await bus.serve(RENEW, self._enrolment.renew(name))
        self._projects[name] = project
        return project

    async def _serve(self, control: Bus) -> None:
        await control.serve(STATUS, self._status)
        await control.serve(PROJECTS, self._add_project)
        await control.serve(f"{LIVE}.*", self._live)
        await control.serve(OPERATOR, self._enrolment.operator)
        await control.serve(UPKEEP, lambda _, payload: answer(self._home.store, payload))

    async def _work(self, home: Home, stop: asyncio.Event) -> None:
        """Run the projects until `stop`."""
        self._stop = stop
        async with only_error(), asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for project in self._projects.values():
                tasks.create_task(project.run(stop), name=f"project {project.name}")
            background = [
                tasks.create_task(home.run(), name="home"),
                tasks.create_task(self._hub.run(self._projects), name="hub"),
            ]
            await stop.wait()
            _log.info("stopping: committing what is held")
            await end(background)

    async def _add_project(self, _: str, payload: bytes) -> bytes:
        """Make the project that is named, if one is; answer `{projects}`, or `{error}`."""
        name = payload.decode("utf-8", "replace")
        try:
            if name:
                await self._hub.add_project(name)
                project = await self._open_project(name)
                self._announce()
                self._tasks.create_task(project.run(self._stop), name=f"project {name}")
                _log.info("made project %s", name)
        except (FluxrigError, OSError) as error:
            return json.dumps({"error": str(error)}).encode()
        return json.dumps({"projects": sorted(self._hub.projects)}).encode()

    async def _live(self, subject: str, payload: bytes) -> bytes:
        """Answer what is newest in the project that the subject names."""
        project = self._projects.get(subject.rpartition(".")[2])
        if project is None:
            raise FluxrigError("there is no such project; see `mixer project list`")
        return await project.live.answer(subject, payload)

    def _health(self, rack: Rack) -> dict[str, Any]:
        project = self._projects.get(rack.project)
        return project.health.of(rack.rack) if project else {}

    def _where(self) -> dict[str, Any]:
        """Say where Racks come in, and what this Mixer is."""
        enrol = f"{self._options.enrol_host}:{self._enrolment.address.port}"
        data = str(self._folder.path)
        return {"listening": self._hub.listening, "enrol": enrol, "data": data, "pid": os.getpid()}

    async def _status(self, *_: object) -> bytes:
        trouble = self._home.trouble
        streams = [one for project in self._projects.values() for one in await project.status(trouble)]
        where = self._where()
        hub = {name: where[name] for name in ("listening", "enrol")} | self._hub.told()
        racks = [told(rack) | {"health": self._health(rack)} for rack in self._registry.all()]
        return json.dumps({"pid": os.getpid(), "hub": hub, "racks": racks, "streams": streams}).encode()


def told(rack: Rack) -> dict[str, Any]:
    """Give of a Rack what a status says."""
    return {
        "project": rack.project,
        "rack": rack.rack,
        "uns": rack.uns,
        "state": str(rack.state),
        "version": rack.version,
        "first_seen_ns": rack.first_seen_ns,
        "last_seen_ns": rack.last_seen_ns,
    }
