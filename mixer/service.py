"""The Mixer as it runs: the hub, the registry, and an audit writer for each stream."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from fluxrig.bus import (
    DEAD,
    LEAF_PORT,
    UNS,
    Bus,
    Hub,
    add_source,
    ensure_hub_streams,
    stream_state,
    watch_sources,
)
from fluxrig.errors import ServerError
from fluxrig.tasks import end, only_error
from mixer.audit.state import Progress
from mixer.audit.tabulate import Tabulated
from mixer.audit.writer import Roll, Writer
from mixer.folder import Folder
from mixer.home import Keeping, opened
from mixer.registry import Rack, Refused, Registration, Registry
from mixer.trim import keep_trimming
from mixer.upkeep import UPKEEP, answer

REGISTER: Final = "fluxrig.mixer.register"
STATUS: Final = "fluxrig.mixer.status"
STREAMS: Final = (UNS, DEAD)

_log = logging.getLogger("fluxrig.mixer")


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen when a Mixer starts."""

    host: str = "127.0.0.1"
    """Where Racks dial in."""
    port: int = LEAF_PORT
    """0: a free one."""
    client_port: int = 0
    """Of the hub, on loopback. 0: a free one."""
    roll: Roll = field(default_factory=Roll)
    sync: str = "always"
    """When the hub's streams reach the disk: "always", or an interval such as "1s"."""
    keeping: Keeping = field(default_factory=Keeping)


class Mixer:
    """One Mixer on one data folder."""

    def __init__(self, folder: Folder, options: Options | None = None) -> None:
        self._folder = folder
        self._options = options or Options()
        self._sourced: dict[str, str] = {}
        self._writers: list[Writer] = []

    async def run(
        self, stop: asyncio.Event, on_ready: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Run until `stop`, then commit what is held. `on_ready` hears where Racks dial in.

        FluxrigError when it can't start: the folder is taken, a port is in use, the manifest was changed.
        """
        async with opened(self._folder, self._options.keeping, stop) as home:
            if home is None:
                return
            self._home, self._store = home, home.store
            self._registry = Registry(self._folder.racks)
            async with self._hub() as self._server, await self._server.connect("mixer") as self._bus:
                with self._folder.announced(self._server.url, self._server.token):
                    await self._serve()
                    listen = self._listen()
                    _log.info("Racks dial in at %s; data in %s", listen, self._folder.path)
                    if on_ready is not None:
                        on_ready({"listening": listen, "data": str(self._folder.path), "pid": os.getpid()})
                    await self._write(stop)
                    with suppress(ServerError):  # only the last-seen times are lost
                        self._registry.save()

    def _hub(self) -> Hub:
        options = self._options
        return Hub(
            self._folder.hub,
            client_port=options.client_port,
            leaf_host=options.host,
            leaf_port=options.port,
            leaf_token=self._folder.snake_token(),
            sync=options.sync,
        )

    def _listen(self) -> str:
        return f"{self._server.remote.host}:{self._server.remote.port}"

    async def _serve(self) -> None:
        await ensure_hub_streams(self._bus)
        await self._bus.serve(REGISTER, self._register)
        await self._bus.serve(STATUS, self._status)
        await self._bus.serve(UPKEEP, lambda _, payload: answer(self._store, payload))

    async def _write(self, stop: asyncio.Event) -> None:
        """Run the writers until `stop`."""
        self._writers = [
            Writer(self._bus, self._store, stream, self._options.roll, self._seen) for stream in STREAMS
        ]
        async with only_error(), asyncio.TaskGroup() as tasks:
            for writer in self._writers:
                tasks.create_task(writer.run(), name=f"audit {writer.stream}")
            background = [
                tasks.create_task(self._home.run(), name="home"),
                tasks.create_task(watch_sources(self._bus), name="sources"),
                tasks.create_task(
                    keep_trimming(self._bus, self._registry, STREAMS, self._committed_seq), name="trim"
                ),
            ]
            await stop.wait()
            await end(background)
            _log.info("stopping: committing what is held")
            for writer in self._writers:
                writer.stop()

    async def _register(self, _: str, payload: bytes) -> bytes:
        """Answer `{ok: true, committed}`, by stream how many messages have rows; or `{ok: false, error}`."""
        try:
            request = Registration.parse(payload)
            is_new = request.rack not in self._registry.racks
            rack = self._registry.register(request)
        except Refused as refusal:
            _log.warning("refused a registration: %s", refusal)
            return json.dumps({"ok": False, "error": str(refusal)}).encode()
        if is_new:
            _log.info("new Rack %s for %s", rack.rack, rack.uns)
        await self._source(self._bus, rack)
        return json.dumps({"ok": True, "committed": self._committed(rack)}).encode()

    async def _source(self, bus: Bus, rack: Rack) -> None:
        if self._sourced.get(rack.rack) != rack.uns:
            for stream in STREAMS:
                await add_source(bus, stream, rack.rack, rack.uns)
            self._sourced[rack.rack] = rack.uns

    def _committed_seq(self, stream: str) -> int:
        return self._store.safe(stream).last

    def _committed(self, rack: Rack) -> dict[str, int]:
        return {
            stream: 1 + self._store.safe(stream).marks.get(leaf, -1)
            for stream, leaf in rack.leaves.items()
            if stream in STREAMS
        }

    def _seen(self, run: Tabulated) -> None:
        for name, ns in run.racks.items():
            if (rack := self._registry.racks.get(name)) is not None:
                rack.last_seen_ns = max(rack.last_seen_ns, ns)

    async def _status(self, *_: object) -> bytes:
        streams = [await self._stream_status(writer) for writer in self._writers]
        racks = [asdict(rack) for rack in self._registry.racks.values()]
        hub = {"listening": self._listen(), "restarts": self._server.restarts}
        return json.dumps({"pid": os.getpid(), "hub": hub, "racks": racks, "streams": streams}).encode()

    async def _stream_status(self, writer: Writer) -> dict[str, Any]:
        state = await stream_state(self._bus, writer.stream)
        behind = state.last_seq - max(writer.progress.last, state.first_seq - 1)
        return {
            **stored(writer.stream, writer.progress),
            "last_seq": state.last_seq,
            "backlog": max(0, behind),
            "trouble": writer.trouble or self._home.trouble,
        }


def stored(stream: str, progress: Progress) -> dict[str, Any]:
    """Give what the audit store has of one stream."""
    return {
        "stream": stream,
        "committed_seq": progress.last,
        "rows": dict(progress.rows),
        "files": progress.files,
        "bytes": progress.bytes,
    }
