"""A Rack: its leaf, its graph, and the order in which they start and stop.

Starting: leaf, streams, graph, sinks first. Stopping: sources end, the graph settles into the leaf, the Mixer
gets a moment to take it all, the leaf stops. What the Mixer did not get waits on the leaf's disk.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from fluxrig.bus import DEAD, UNS, Bus, Leaf, LeafRemote, Publisher
from fluxrig.catalog import Catalog
from fluxrig.clock import Clock, SystemClock
from fluxrig.codec import encode
from fluxrig.gear import Context
from fluxrig.message import FluxMsg
from fluxrig.rackfile.model import UPLINK, GearSpec, RackSpec
from fluxrig.tasks import end
from racks import uplink
from racks.engine import Engine
from racks.enrolment import Enrolment
from racks.live import LiveLane
from racks.node import Node
from racks.priority import go_first
from racks.report import REPORT, Report, Reporter, write_report
from racks.snake import Snake
from racks.store import Store
from racks.trim import keep_trimming, kept_bytes
from racks.worker.isolated import Isolated

log = logging.getLogger("fluxrig.rack")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long stopping may take."""

    drain_s: float = 10.0
    """For what the gears have emitted to reach the leaf."""
    flush_s: float = 10.0
    """For what the leaf has stored to reach the Mixer."""


class Rack:
    """Runs one Rack file."""

    def __init__(
        self,
        spec: RackSpec,
        catalog: Catalog,
        state_dir: Path,
        *,
        limits: Limits = Limits(),
        clock: Clock | None = None,
        report_file: Path | None = None,
        goes_first: bool = False,
    ) -> None:
        """`goes_first`: this thread is the Rack's, and may go before other work of the machine."""
        self.spec = spec
        self._catalog = catalog
        self._state_dir = state_dir
        self._limits = limits
        self._clock = clock or SystemClock()
        self._goes_first = goes_first
        self._report_files = [state_dir / REPORT, *([report_file] if report_file else [])]
        self._snake: Snake | None = None
        self._enrolment: Enrolment | None = None
        self._leaf_trouble = ""

    async def run(self, stop: asyncio.Event) -> Report:
        """Run until every source is at its end or `stop` is set. Cancelling this stops at once."""
        async with AsyncExitStack() as stack:
            self._enrolment = self._make_enrolment()
            leaf = await stack.enter_async_context(
                self._leaf(await self._enrolment.start() if self._enrolment else None)
            )
            bus = await stack.enter_async_context(await leaf.connect(self.spec.name))
            store = Store(self.spec.store, leaf, bus, self._context(UPLINK, self.spec.uns))
            await store.open()
            stack.push_async_callback(store.close)
            readings, letters = store.publishers[UNS], store.publishers[DEAD]
            lane = LiveLane(bus.publish)
            engine = await stack.enter_async_context(self._engine(readings, letters, lane))
            reporter = Reporter(
                self.spec,
                engine,
                store,
                self._clock,
                leaf_trouble=lambda: self._leaf_trouble,
                mixer=self._where_mixer_is,
            )
            snake = reporter.snake = self._snake = self._link(bus, store, reporter)
            await bus.serve(f"fluxrig.ctrl.{self.spec.name}.ping", reporter.answer)
            async with asyncio.TaskGroup() as background:
                tasks = [background.create_task(store.watch(snake.committed if snake else None))]
                if snake:
                    tasks.append(background.create_task(snake.run()))
                    if self._enrolment:
                        tasks.append(background.create_task(self._enrolment.run(bus, snake, leaf.dial)))
                    tasks.append(background.create_task(lane.run(self._is_online)))
                    keep = kept_bytes(self.spec.store.max_bytes)
                    tasks.append(
                        background.create_task(keep_trimming(snake, store.publishers.values(), keep))
                    )
                tasks.append(background.create_task(reporter.keep_writing(self._report_files)))
                await self._run_graph(engine, stop)
                if snake and reporter.now().accepted:
                    await self._flush(snake, readings)
                await end(tasks)
            await store.look(snake.committed if snake else None)
            report = reporter.now()
        for file in self._report_files:
            write_report(file, report)
        return report

    def _where_mixer_is(self) -> str:
        return self._enrolment.where if self._enrolment else ""

    def _is_online(self) -> bool:
        return self._snake is not None and self._snake.up

    async def _run_graph(self, engine: Engine, stop: asyncio.Event) -> None:
        await engine.start()
        _keep_what_is_loaded()
        if self._goes_first:
            go_first()
        log.info("%s is running %d gears", self.spec.name, len(self.spec.gears))
        ends = [asyncio.create_task(engine.finished()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if left := await engine.drain(self._limits.drain_s):
            log.warning("%d batches were not settled within %g s", left, self._limits.drain_s)

    async def _flush(self, snake: Snake, readings: Publisher) -> None:
        if not snake.up:
            log.info("the Mixer is away; what it has not got waits on the leaf's disk")
        elif not await snake.flushed(UNS, readings.next_number, self._limits.flush_s):
            log.info("the Mixer has %d of %d messages", snake.committed[UNS], readings.next_number)

    def _make_enrolment(self) -> Enrolment | None:
        return Enrolment(self.spec, self._state_dir, self._clock) if self.spec.snake else None

    def _leaf(self, remote: LeafRemote | None) -> Leaf:
        store_dir = self._state_dir / "leaf"
        return Leaf(
            self.spec.name, store_dir, remote, sync=self.spec.store.sync, on_trouble=self._note_trouble
        )

    def _note_trouble(self, trouble: str) -> None:
        self._leaf_trouble = trouble

    def _link(self, bus: Bus, store: Store, reporter: Reporter) -> Snake | None:
        if self.spec.snake is None:
            return None
        return Snake(
            bus,
            rack=self.spec.name,
            uns=self.spec.uns,
            leaves=lambda: store.leaves,
            clock=self._clock,
            health=reporter.health,
            why_out=lambda: self._enrolment.trouble if self._enrolment else "",
        )

    def _engine(self, readings: Publisher, letters: Publisher, lane: LiveLane) -> Engine:
        async def dead_letters(gear: str, rejections: Sequence[FluxMsg]) -> None:
            subject = f"fluxrig.dead.{self.spec.name}.{gear}"
            await letters.store(list(uplink.pack([(subject, list(map(encode, rejections)))])))

        engine = Engine(dead_letters=dead_letters)
        for gear in self.spec.gears.values():
            self._add(engine, gear)
        sink = uplink.Uplink(
            self._context(UPLINK, self.spec.uns),
            readings.store,
            is_online=self._is_online,
            on_newest=lane.note if self.spec.snake else None,
        )
        engine.add(sink, uplink.MANIFEST, timeout_s=None)
        for wire in self.spec.wires:
            engine.connect(
                wire.source.gear,
                wire.target.gear,
                output=wire.source.port,
                port=wire.target.port,
                queue=wire.queue,
                when_full=wire.when_full,
            )
        return engine

    def _add(self, engine: Engine, gear: GearSpec) -> Node:
        manifest = self._catalog[gear.kind]
        context = self._context(gear.name, gear.uns)
        isolated = gear.isolate == "process"
        made = Isolated(manifest, gear.config, context) if isolated else manifest.load()(gear.config, context)
        return engine.add(made, manifest, timeout_s=gear.timeout_s)

    def _context(self, gear: str, uns: str) -> Context:
        return Context(
            rack=self.spec.name,
            gear=gear,
            uns=uns,
            clock=self._clock,
            log=logging.getLogger(f"fluxrig.{gear}"),
        )


def _keep_what_is_loaded() -> None:
    """Spare the garbage collector what lives as long as the Rack: walking over it takes tens of ms."""
    gc.collect()
    gc.freeze()
