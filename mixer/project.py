"""One project of a running Mixer: what its Racks are told, the hub's streams, the writers of its audit."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxrig.bus import DEAD, UNS, Bus, add_source, mark_of, remove_source, stream_state, watch_sources
from fluxrig.bus.connection import ApiError
from fluxrig.errors import BusError
from fluxrig.tasks import end
from mixer.audit.state import Progress
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import Tabulated
from mixer.audit.writer import Roll, Writer
from mixer.enrolment.registry import Rack, Registry, State
from mixer.health import Health
from mixer.live import LIVE, Live
from mixer.refusals import Refusals
from mixer.trim import keep_trimming

REGISTER: Final = "fluxrig.mixer.*.register"
STREAMS: Final = (UNS, DEAD)
MAX_REQUEST_BYTES: Final = 64 << 10
_LOOK_S: Final = 1.0
_FORGED: Final = "it stored messages in another's name"
_AGAIN_S: Final = 1.0

_log = logging.getLogger("fluxrig.mixer")


class Registration(BaseModel):
    """What a Rack says of itself when it registers. Its name is in the subject, which only it may use."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer Rack may say more

    leaves: Annotated[dict[str, Annotated[str, Field(max_length=128)]], Field(max_length=4)] = {}
    """By stream: the id of the Rack's store."""
    version: Annotated[str, Field(max_length=64)] = ""


class Project:
    """A project's account on the hub, through `bus`."""

    def __init__(self, name: str, bus: Bus, store: AuditStore, registry: Registry, roll: Roll) -> None:
        self.name = name
        self.bus = bus
        self.health = Health()
        self.live = Live(self.health)
        self._store = store
        self._registry = registry
        self._sourced: dict[str, str] = {}
        self._refusals = Refusals("a registration")
        self._forged: asyncio.Queue[tuple[str, dict[str, list[int]]]] = asyncio.Queue()
        self._writers = [
            Writer(bus, store, stream, roll, partial(self._seen, stream), project=name) for stream in STREAMS
        ]

    async def open(self) -> None:
        """Serve what Racks ask. The streams must be there."""
        await self.bus.serve(REGISTER, self._register)
        await self.bus.serve(LIVE, self.live.take)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the writers until `stop`, then have them commit what they hold."""
        async with asyncio.TaskGroup() as tasks:
            for writer in self._writers:
                tasks.create_task(writer.run(), name=f"audit {self.name} {writer.stream}")
            background = [
                tasks.create_task(watch_sources(self.bus), name=f"sources {self.name}"),
                tasks.create_task(self._clear_forged(), name=f"forged {self.name}"),
                tasks.create_task(
                    keep_trimming(self.bus, self._racks, STREAMS, self._committed_seq),
                    name=f"trim {self.name}",
                ),
            ]
            await stop.wait()
            await end(background)
            for writer in self._writers:
                writer.stop()

    async def status(self, trouble: str) -> list[dict[str, Any]]:
        """Give how far each stream is; `trouble` is told where a writer has none of its own."""
        return await asyncio.gather(*(self._stream_status(writer, trouble) for writer in self._writers))

    async def _register(self, subject: str, payload: bytes) -> bytes:
        """Answer `{ok: true, committed}`, by stream how many messages have rows; or `{ok: false, error}`."""
        name = subject.split(".")[2]
        rack = self._registry.find(self.name, name)
        if rack is None or not _is_approved(rack):
            return _no("this Rack is not enrolled")
        try:
            request = _parse(payload)
        except ValueError as error:
            self._refusals.log(f"Rack {name} of {self.name}", str(error))
            return _no(str(error))
        if not rack.first_seen_ns:
            _log.info("new Rack %s for %s", name, rack.uns)
        self._registry.seen(rack, version=request.version, leaves=dict(request.leaves))
        self.health.note(name, payload)
        await self._source(rack)
        if not _is_approved(rack):  # any more
            await self.stop_taking(name)
            return _no("this Rack is not enrolled")
        return json.dumps({"ok": True, "committed": self._committed(rack)}).encode()

    async def _source(self, rack: Rack) -> None:
        if self._sourced.get(rack.rack) != rack.uns:
            for stream in STREAMS:
                await add_source(self.bus, stream, rack.rack, rack.uns)
            self._sourced[rack.rack] = rack.uns

    async def stop_taking(self, rack: str) -> None:
        """Take nothing more from a Rack until it registers again. Raises BusError."""
        self._sourced.pop(rack, None)
        for stream in STREAMS:
            await remove_source(self.bus, stream, rack)

    def _racks(self) -> list[tuple[str, str]]:
        return [(rack.rack, rack.uns) for rack in self._registry.of(self.name)]

    def _committed_seq(self, stream: str) -> int:
        return self._store.safe(stream, self.name).last

    def _committed(self, rack: Rack) -> dict[str, int]:
        return {
            stream: 1 + self._store.safe(stream, self.name).marks.of(rack.rack, leaf)
            for stream, leaf in rack.leaves.items()
            if stream in STREAMS
        }

    async def _clear_forged(self) -> None:
        """Suspend Racks that spoke in another's name, and take what they said off the hub; until cancelled.

        It is in the quarantine. On the hub it would stay for good, since no Rack's part is trimmed of it, and
        one that starts again may believe what such headers say of the sources.
        """
        while True:
            stream, forged = await self._forged.get()
            for mark in forged:
                self._suspend(mark)
            for seq in chain.from_iterable(forged.values()):
                await self._delete(stream, seq)

    def _suspend(self, mark: str) -> None:
        for rack in self._registry.of(self.name):
            if mark_of(rack.rack) == mark and rack.state is State.APPROVED:
                _log.error("suspended Rack %s of %s: %s", rack.rack, self.name, _FORGED)
                with suppress(OSError):  # it holds as long as this Mixer runs
                    self._registry.suspend(rack, "mixer", _FORGED)

    async def _delete(self, stream: str, seq: int) -> None:
        while True:
            try:
                await self.bus.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
            except ApiError:
                return  # it is gone already
            except BusError:
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    def _seen(self, stream: str, run: Tabulated) -> None:
        if run.forged:
            self._forged.put_nowait((stream, run.forged))
        for name, ns in run.racks.items():
            if (rack := self._registry.find(self.name, name)) is not None:
                rack.last_seen_ns = max(rack.last_seen_ns, ns)

    async def _stream_status(self, writer: Writer, trouble: str) -> dict[str, Any]:
        known = stored(self.name, writer.stream, writer.progress)
        try:
            async with asyncio.timeout(_LOOK_S):
                state = await stream_state(self.bus, writer.stream)
        except (TimeoutError, BusError):
            return known | {"trouble": writer.trouble or trouble or "the hub does not answer"}
        behind = state.last_seq - max(writer.progress.last, state.first_seq - 1)
        return {
            **known,
            "last_seq": state.last_seq,
            "backlog": max(0, behind),
            "trouble": writer.trouble or trouble,
        }


def stored(project: str, stream: str, progress: Progress) -> dict[str, Any]:
    """Give what the audit store has of one stream."""
    return {
        "project": project,
        "stream": stream,
        "committed_seq": progress.last,
        "rows": dict(progress.rows),
        "files": progress.files,
        "bytes": progress.bytes,
    }


def _parse(payload: bytes) -> Registration:
    """Read a registration. ValueError says in one line what is wrong."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise ValueError(f"{len(payload)} bytes, {MAX_REQUEST_BYTES} are allowed")
    try:
        return Registration.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else str(first["msg"])) from None


def _is_approved(rack: Rack) -> bool:
    return rack.state is State.APPROVED


def _no(reason: str) -> bytes:
    return json.dumps({"ok": False, "error": reason}).encode()
