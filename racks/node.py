"""One gear at work: its life cycle, what reaches it, what comes of it, and what happens when it fails.

| the gear raises | from | the engine does |
|---|---|---|
| `NotReady`, `Disconnected` | anywhere | closes it, backs off, opens it; a batch at hand is offered again |
| anything unexpected | `open`, `run` | the same |
| `BadMessage` | `process` | offers the messages one by one; the bad one goes to `error` or the dead letters |
| anything unexpected | `process` | the same: one message must not stop those behind it |
| nothing, beyond its `timeout` | `process` | cancels it, rejects the batch, closes and opens the gear |
| `EndOfStream` | `run` | takes it as the end of the source |
| `Fatal` | anywhere | stops it; what still reaches it is rejected, with the reason |

A gear with `isolate: process` fails in the same ways; the death of its worker is `Disconnected`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fluxrig.errors import Disconnected, EndOfStream, Fatal, NotReady, Stopped
from fluxrig.gear import Context, Gear, Manifest
from fluxrig.tasks import end
from racks.backoff import SETTLED_S, Backoff
from racks.intake import Intake
from racks.outlet import DeadLetters, Outlet
from racks.record import Counters, Record, State, reason_of
from racks.wire import Inbox, InFlight, Wire
from racks.worker.isolated import Isolated

CLOSE_S = 5.0
OPEN_S = 30.0
STOP_S = 2.0


class Node:
    """Runs one gear: opens it, lets it work, closes it, and begins again after a failure."""

    def __init__(
        self,
        gear: Gear[Any],
        manifest: Manifest,
        *,
        timeout_s: float | None,
        in_flight: InFlight,
        dead_letters: DeadLetters,
        backoff: Backoff | None = None,
        observe: Callable[[float], None] | None = None,
    ) -> None:
        self.gear = gear
        self.manifest = manifest
        self.source_ended = asyncio.Event()
        self._record = Record()
        self._outlet = Outlet(gear.context, manifest, self._record, in_flight, dead_letters)
        self._intake = Intake(gear, self._outlet, self._record, timeout_s, observe)
        self._timeout_s = timeout_s
        self._backoff = backoff or Backoff()
        self._ending = False
        self._source_task: asyncio.Task[None] | None = None
        if not manifest.source:
            self.source_ended.set()

    @property
    def inbox(self) -> Inbox:
        return self._intake.inbox

    @property
    def outputs(self) -> dict[str, list[Wire]]:
        """The wires of each output port."""
        return self._outlet.wires

    @property
    def state(self) -> State:
        return self._record.state

    @property
    def counters(self) -> Counters:
        return self._record.counters

    @property
    def last_error(self) -> str:
        return self._record.last_error

    @property
    def name(self) -> str:
        return self.context.gear

    @property
    def context(self) -> Context:
        return self.gear.context

    async def live(self) -> None:
        """Run the gear until it is at its end, fails for good or is cancelled."""
        try:
            while not await self._session():
                pass
            self._record.state = State.ENDED
        except Fatal as error:
            self._record.failure(error)
            self._record.state = State.FAILED
            self.context.log.error("stopped for good: %s", error)
            self.source_ended.set()
            await self._dismiss()
            if self.manifest.inputs:
                await self._intake.reject_all(error)
        finally:
            self.source_ended.set()
            await self._dismiss()
            self._abandon()

    def end_source(self) -> None:
        """Stop `run`, and keep taking what reaches the inputs."""
        self._ending = True
        if self._source_task is not None:
            self._source_task.cancel()
        else:
            self.source_ended.set()

    async def _session(self) -> bool:
        """Open the gear and let it work. True: it is at its end; False: it is to be opened again."""
        opened_ns = self.context.clock.monotonic_ns()
        try:
            await self._open()
            await self._work()
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one gear raises must not reach the others
            self._record.failure(error)
            await self._close()
            await self._back_off(error, (self.context.clock.monotonic_ns() - opened_ns) / 1e9)
            return self.source_ended.is_set() and not self.manifest.inputs
        return True

    async def _open(self) -> None:
        self._record.state = State.STARTING
        await self._call(self.gear.open(), "open", OPEN_S)
        self.counters.opened += 1
        self._record.state = State.RUNNING

    async def _work(self) -> None:
        """Run the source and take input side by side until both are at their end or one fails."""
        tasks: list[asyncio.Task[None]] = []
        if not self.source_ended.is_set():
            self._source_task = asyncio.create_task(self._run_source(), name=f"{self.name}.run")
            tasks.append(self._source_task)
        if self.manifest.inputs:
            if isinstance(self.gear, Isolated):  # while no batch comes, nothing else notices a worker's death
                tasks.append(asyncio.create_task(self.gear.died(), name=f"{self.name}.worker"))
            if self._timeout_s is not None:
                watch = self._intake.watch(self._timeout_s)
                tasks.append(asyncio.create_task(watch, name=f"{self.name}.watch"))
            tasks.append(asyncio.create_task(self._intake.take(), name=f"{self.name}.process"))
        if not tasks:
            return
        self._intake.leaving = False
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            await self._intake.pause(tasks[-1])
        finally:
            self._intake.leaving = True
            self._source_task = None
            for task in await end(tasks, again_after_s=STOP_S, attempts=2):
                self.context.log.error("%s does not end when it is cancelled; left behind", task.get_name())
        for task in done:
            task.result()

    async def _run_source(self) -> None:
        try:
            await self.gear.run(self._outlet.emit)
        except EndOfStream:
            pass
        except asyncio.CancelledError:
            if not self._ending:
                if self._intake.leaving:
                    raise
                raise NotReady("run was cancelled from within") from None
        except Exception:
            raise
        except BaseException as error:
            raise Fatal(f"run raised {reason_of(error)}") from error
        self.source_ended.set()

    async def _back_off(self, error: Exception, lived_s: float) -> None:
        if lived_s > SETTLED_S:
            self._backoff.reset()
        wait_s = self._backoff.next_s()
        self._record.state = State.WAITING
        log = (
            self.context.log.info if isinstance(error, NotReady | Disconnected) else self.context.log.warning
        )
        log("%s; trying again in %.1f s", reason_of(error), wait_s)
        await self.context.clock.sleep(wait_s)

    async def _close(self) -> None:
        try:
            await self._call(self.gear.close(), "close", CLOSE_S)
        except Exception as error:  # noqa: BLE001 - a gear that can't close must not keep the Rack up
            self.context.log.warning("could not close: %s", reason_of(error))

    async def _call(self, work: Coroutine[Any, Any, None], what: str, limit_s: float) -> None:
        """Await a call of the gear in a task of its own, which is left behind if it does not end."""
        task = asyncio.create_task(_contained(work, what), name=f"{self.name}.{what}")
        try:
            await asyncio.wait([task], timeout=limit_s)
        finally:
            late = not task.done()
            stuck = await end([task], again_after_s=STOP_S, attempts=2)
        if stuck:
            raise Fatal(f"{what} does not end when it is cancelled; left behind")
        if late:
            raise NotReady(f"{what} took longer than {limit_s:g} s")
        task.result()

    async def _dismiss(self) -> None:
        """Close the gear for good, and end its worker if it has one."""
        try:
            await self._close()
        finally:
            if isinstance(self.gear, Isolated):
                await self.gear.dismiss()

    def _abandon(self) -> None:
        """Settle what is left when the engine stops; a no-op after a drain."""
        if self.state not in (State.FAILED, State.ENDED):
            self._record.state = State.STOPPED
        self._intake.abandon(Stopped(f"{self.name} stopped before it took this"))


async def _contained(work: Coroutine[Any, Any, None], what: str) -> None:
    """Await a call of the gear. What would end the process, such as `sys.exit`, ends the gear instead."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception:
        raise
    except BaseException as error:
        raise Fatal(f"{what} raised {reason_of(error)}") from error
