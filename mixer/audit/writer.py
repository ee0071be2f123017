"""The audit writer: one stream of the hub into the store, each message once.

It acknowledges to the hub only what is committed. While one commit is written, the rows of the next are made;
it holds no more than these two, and takes no more while the disk refuses. Arrow and Parquet work runs in
threads, so that the loop keeps serving.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from fluxrig.bus import Bus, Consumer, StreamState, stream_state
from fluxrig.errors import BusError
from mixer.audit.manifest import DEFAULT_PROJECT
from mixer.audit.origin import Marks
from mixer.audit.state import Progress
from mixer.audit.store import AuditStore
from mixer.audit.tables import QUARANTINE
from mixer.audit.tabulate import Tabulated, tabulate

_FETCH: Final = 2000
"""How many stored messages, each of one fluxMsg or many, are decoded at a time."""
_LISTEN_S: Final = 0.2
_FORGET_S: Final = 60.0
_BACKOFF_S: Final = (0.5, 15.0)

_log = logging.getLogger("fluxrig.audit")


@dataclass(frozen=True, slots=True)
class Roll:
    """When rows become files: at the first of these."""

    rows: int = 200_000
    bytes: int = 48 << 20
    """Of Arrow memory; on disk it is a fraction of that."""
    age_s: float = 5.0
    hourly: bool = False
    """Whether a partition is an hour, not a day."""


class Writer:
    """Writes one stream. `on_commit` hears of each commit's rows once they are safe."""

    def __init__(
        self,
        bus: Bus,
        store: AuditStore,
        stream: str,
        roll: Roll | None = None,
        on_commit: Callable[[Tabulated], None] | None = None,
        *,
        project: str = DEFAULT_PROJECT,
        reads: type[Consumer] = Consumer,
    ) -> None:
        """`bus` is connected to the account of the project whose messages these are."""
        self.stream = stream
        self.project = project
        self.trouble = ""
        """What keeps it from writing at the moment, in one line."""
        self.project = project
        self._bus = bus
        self._store = store
        self._roll = roll or Roll()
        self._on_commit = on_commit
        self._reads = reads
        self._stopping = asyncio.Event()

    @property
    def progress(self) -> Progress:
        return self._store.progress(self.stream, self.project)

    def stop(self) -> None:
        """Ask `run` to commit what it holds and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Write until stopped. An outage of the hub or of the disk is waited out."""
        delay = _BACKOFF_S[0]
        while not self._stopping.is_set():
            try:
                await self._follow()
            except BusError as error:
                self._tell(f"the hub does not answer: {error}")
                await self._pause(delay)
                delay = min(2 * delay, _BACKOFF_S[1])
            else:
                delay = _BACKOFF_S[0]

    async def _follow(self) -> None:
        """Read from behind what is committed, until stopped."""
        state = await stream_state(self._bus, self.stream)
        # who knew the name could acknowledge in our place: to that subject every leaf may publish
        name = f"audit-{self.stream}-{secrets.token_hex(8)}"
        first = start(self.progress, state)
        consumer = self._reads(self._bus, self.stream, name, first, forget_after_s=_FORGET_S)
        self._tell("")
        marks = Marks(self.progress.marks)
        writing: asyncio.Task[bool] | None = None
        try:
            while not self._stopping.is_set():
                run = await self._collect(consumer, marks)
                if writing is not None and not await writing:
                    return
                writing = asyncio.create_task(self._write(consumer, state.created, run)) if run else None
        finally:
            if writing is not None:
                await writing
            with suppress(BusError):
                await consumer.close()

    async def _write(self, consumer: Consumer, epoch: str, run: Tabulated) -> bool:
        """Commit a run and acknowledge it; False when stopped before that."""
        if not await self._commit(epoch, run):
            return False
        await consumer.ack_through(run.last)
        return True

    async def _collect(self, consumer: Consumer, marks: Marks) -> Tabulated | None:
        """Gather rows until it is time for a commit; None when there were none.

        Asked to stop, it still takes what the hub has, up to one full run.
        """
        loop = asyncio.get_running_loop()
        run: Tabulated | None = None
        due = loop.time() + self._roll.age_s
        while True:
            stored = await consumer.fetch(_FETCH, min(_LISTEN_S, max(0.0, due - loop.time())))
            if run is None:
                due = loop.time() + self._roll.age_s
            if stored:
                made = await asyncio.to_thread(tabulate, self.stream, stored, marks, hourly=self._roll.hourly)
                if run is None:
                    run = made
                else:
                    run.extend(made)
            elif self._stopping.is_set():
                break
            if run is not None and (loop.time() >= due or self._is_full(run)):
                break
        return run

    def _is_full(self, run: Tabulated) -> bool:
        return run.size >= self._roll.rows or run.nbytes >= self._roll.bytes

    async def _commit(self, epoch: str, run: Tabulated) -> bool:
        """Commit, trying for as long as it takes; False when stopped before that."""
        delay = _BACKOFF_S[0]
        while True:
            try:
                await asyncio.to_thread(self._store.commit, self.stream, epoch, run, self.project)
            except (OSError, MemoryError, pa.ArrowException) as error:
                self._tell(f"the audit store can't be written: {error}; nothing is lost, it is tried again")
            else:
                self._committed(run)
                return True
            if self._stopping.is_set():
                return False
            await self._pause(delay)
            delay = min(2 * delay, _BACKOFF_S[1])

    def _committed(self, run: Tabulated) -> None:
        self._tell("")
        if aside := run.rows(QUARANTINE):
            _log.warning("%s: %d messages were set aside; see the table quarantine", self.stream, aside)
        if self._on_commit is not None:
            self._on_commit(run)

    def _tell(self, trouble: str) -> None:
        """Log trouble when it begins or changes, and its end."""
        if trouble and trouble != self.trouble:
            _log.error("%s: %s", self.stream, trouble)
        elif self.trouble and not trouble:
            _log.info("%s: writing again", self.stream)
        self.trouble = trouble

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def start(progress: Progress, state: StreamState) -> int:
    """Give the sequence to read from.

    A stream made anew is read whole: what comes again is known by its leaf's numbers. One that ends before
    what is committed lost its end, and goes on with sequences that were used before.
    """
    if progress.epoch != state.created:
        return state.first_seq
    return min(progress.last, state.last_seq) + 1
