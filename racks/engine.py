"""The engine: a graph of gears and wires, started together, drained and stopped together.

async with Engine(clock=…, dead_letters=…) as engine:
    engine.add(gear, manifest); engine.connect(…)
    await engine.start()
    await engine.finished()          # every source is at its end, all is settled
    left = await engine.drain(10.0)  # or: sources end now, what they emitted is settled
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from fluxrig.errors import FluxrigError
from fluxrig.gear import IN, OUT, Gear, Manifest
from fluxrig.message import FluxMsg
from fluxrig.rackfile.model import DEFAULT_QUEUE, DEFAULT_TIMEOUT_S, WhenFull
from fluxrig.tasks import end
from racks.backoff import Backoff
from racks.metrics import Metrics
from racks.node import CLOSE_S, Node
from racks.outlet import DeadLetters
from racks.record import State
from racks.wire import InFlight, Wire


async def no_dead_letters(gear: str, letters: Sequence[FluxMsg]) -> None:
    """Refuse: an engine that was given no dead letters has no safe place for rejected messages."""
    raise FluxrigError(f"{len(letters)} messages rejected by {gear} have no dead letters to go to")


class Engine:
    """Runs a graph of gears. One engine runs once."""

    def __init__(
        self, *, dead_letters: DeadLetters = no_dead_letters, metrics: Metrics | None = None
    ) -> None:
        self.nodes: dict[str, Node] = {}
        self._dead_letters = dead_letters
        self._in_flight = InFlight()
        self._metrics = metrics or Metrics()
        self._tasks: list[asyncio.Task[None]] = []

    def add(
        self,
        gear: Gear[Any],
        manifest: Manifest,
        *,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        backoff: Backoff | None = None,
    ) -> Node:
        """Add a gear under its context's name."""
        name = gear.context.gear
        if name in self.nodes:
            raise ValueError(f"there is a gear {name!r} already")
        node = Node(
            gear,
            manifest,
            timeout_s=timeout_s,
            in_flight=self._in_flight,
            dead_letters=self._dead_letters,
            backoff=backoff,
            observe=self._metrics.observer(name),
        )
        self.nodes[name] = node
        self._metrics.watch(node)
        return node

    def connect(
        self,
        source: str,
        target: str,
        *,
        output: str = OUT,
        port: str = IN,
        queue: int = DEFAULT_QUEUE,
        when_full: WhenFull = "block",
    ) -> Wire:
        """Wire `source.output` to `target.port`."""
        wire = Wire(self.nodes[target].inbox, port, queue, when_full)
        self.nodes[source].outputs[output].append(wire)
        return wire

    @property
    def unsettled(self) -> int:
        """Batches under way."""
        return self._in_flight.deliveries

    @property
    def failed(self) -> list[Node]:
        """Gears that stopped for good."""
        return [node for node in self.nodes.values() if node.state is State.FAILED]

    async def start(self) -> None:
        """Start every gear, sinks before sources, so that the first message finds its way open."""
        for node in sorted(self.nodes.values(), key=lambda node: node.manifest.source):
            self._tasks.append(asyncio.create_task(node.live(), name=node.name))

    async def finished(self) -> None:
        """Wait until every source is at its end and all that they emitted is settled."""
        for node in self.nodes.values():
            await node.source_ended.wait()
        await self._in_flight.idle()

    async def drain(self, limit_s: float) -> int:
        """End the sources and settle what is under way, for at most `limit_s`; give the batches left over."""
        for node in self.nodes.values():
            node.end_source()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.finished()
        return self.unsettled

    async def stop(self) -> None:
        """Cancel everything now. What is not settled fails with `Stopped`."""
        stuck = await end(self._tasks, again_after_s=4 * CLOSE_S, attempts=2)
        results = await asyncio.gather(*(set(self._tasks) - stuck), return_exceptions=True)
        self._tasks.clear()
        for failure in _unexpected(results):
            raise failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _unexpected(results: Sequence[BaseException | None]) -> Iterator[BaseException]:
    return (
        result for result in results if result is not None and not isinstance(result, asyncio.CancelledError)
    )
