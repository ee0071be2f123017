"""Small gears for the engine's tests. Each does one thing on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from fluxrig.gear import IN, OUT, Batch, Emit, Gear, GearConfig, Manifest, Outputs, Receipt
from fluxrig.message import FluxMsg
from fluxrig.testing import context

CONFIG = GearConfig()


def manifest(
    *, source: bool = False, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = (OUT,)
) -> Manifest:
    return Manifest(
        kind="test", summary="", config=GearConfig, gear="", inputs=inputs, outputs=outputs, source=source
    )


SOURCE = manifest(source=True)
FILTER = manifest(inputs=(IN,))
SINK = manifest(inputs=(IN,), outputs=())


def numbers(messages: list[FluxMsg]) -> list[int]:
    """Give the sequence numbers of messages, in order."""
    return [message.data["seq"] for message in messages]


class Counting(Gear[GearConfig]):
    """Emits `total` numbered messages in batches, and keeps their receipts."""

    def __init__(self, name: str, total: int | None = None, batch: int = 1, port: str = OUT) -> None:
        super().__init__(CONFIG, context(name))
        self.total, self.batch, self.port = total, batch, port
        self.receipts: list[Receipt] = []
        self.sent = 0

    async def run(self, emit: Emit) -> None:
        for start in count(0, self.batch):
            size = self.batch if self.total is None else min(self.batch, self.total - start)
            if size <= 0:
                return
            batch = [self.context.message({"seq": start + offset}) for offset in range(size)]
            self.receipts.append(await emit(self.port, batch))
            self.sent += size


class Collecting(Gear[GearConfig]):
    """Keeps what it takes. `gate` holds every batch until it is open."""

    def __init__(self, name: str, gate: asyncio.Event | None = None) -> None:
        super().__init__(CONFIG, context(name))
        self.gate = gate
        self.taken: list[FluxMsg] = []
        self.batches: list[int] = []

    async def process(self, batch: Batch, port: str) -> Outputs:
        if self.gate is not None:
            await self.gate.wait()
        self.taken += batch
        self.batches.append(len(batch))
        return Outputs()


class Applying(Gear[GearConfig]):
    """Does to each batch what it was given to do."""

    def __init__(self, name: str, step: Callable[[Batch], Outputs | Awaitable[Outputs]]) -> None:
        super().__init__(CONFIG, context(name))
        self.step = step
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def process(self, batch: Batch, port: str) -> Outputs:
        result: Any = self.step(batch)
        return await result if asyncio.iscoroutine(result) else result


@dataclass
class Letters:
    """Dead letters kept in a list; `error` makes them refuse."""

    kept: list[tuple[str, FluxMsg]] = field(default_factory=list)
    error: Exception | None = None

    async def __call__(self, gear: str, letters: Any) -> None:
        if self.error:
            raise self.error
        self.kept += [(gear, letter) for letter in letters]
