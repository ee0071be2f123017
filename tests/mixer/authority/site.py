"""A Mixer in this process, and Racks that do as they should."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fluxrig.bus import UNS, Bus, Leaf, Parcel, Publisher, ensure_leaf_streams
from fluxrig.codec import encode_sequence
from fluxrig.errors import BusError
from fluxrig.message import FluxMsg
from mixer.audit.writer import Roll
from mixer.enrolment.registry import Registry
from mixer.folder import Folder
from mixer.service import Mixer, Options

from ..enrolled import Box


@dataclass
class Centre:
    """A running Mixer."""

    folder: Folder
    mixer: Mixer
    port: int

    @property
    def registry(self) -> Registry:
        return self.mixer._registry


@asynccontextmanager
async def centre(folder: Folder, options: Options | None = None) -> AsyncIterator[Centre]:
    stop, ready = asyncio.Event(), asyncio.Event()
    where: dict[str, Any] = {}
    mixer = Mixer(folder, options or Options(port=0, enrol_port=0, sync="1s", roll=Roll(age_s=0.2)))

    def on_ready(told: dict[str, Any]) -> None:
        where.update(told)
        ready.set()

    task = asyncio.create_task(mixer.run(stop, on_ready))
    starting = asyncio.create_task(ready.wait())
    await asyncio.wait([task, starting], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        starting.cancel()
        await task
    try:
        yield Centre(folder, mixer, int(where["listening"].rpartition(":")[2]))
    finally:
        stop.set()
        await task


class HonestRack:
    """A Rack that does as it should: stores numbered messages, registers, and learns what is committed."""

    def __init__(self, box: Box, leaf: Leaf, bus: Bus, publisher: Publisher) -> None:
        self.box, self.leaf, self.bus, self.publisher = box, leaf, bus, publisher
        self.sent = 0
        self.answer: dict[str, Any] = {}

    async def store(self, messages: int) -> None:
        subject = "fluxrig.uns." + self.box.uns.replace("/", ".")
        batch = [self.message(self.sent + i) for i in range(messages)]
        await self.publisher.store([Parcel(subject, encode_sequence(batch), len(batch))])
        self.sent += messages

    def message(self, number: int, **fields: Any) -> FluxMsg:
        usual = {
            "id": number.to_bytes(16),
            "ts": number,
            "src": f"{self.box.rack}/press",
            "uns": self.box.uns,
        }
        return FluxMsg(**(usual | {"schema": "fluxrig.tags/1", "data": {"n": number}} | fields))

    async def register(self) -> dict[str, Any]:
        request = json.dumps({"leaves": {UNS: self.publisher.leaf}, "version": "1"}).encode()
        subject = f"fluxrig.mixer.{self.box.rack}.register"
        answer: dict[str, Any] = json.loads(await self.bus.request(subject, request, 1.0))
        return answer

    async def keep_registered(self) -> None:
        while True:
            with suppress(BusError):
                self.answer = await self.register()
            await asyncio.sleep(0.05)

    @property
    def committed(self) -> int:
        return int(self.answer.get("committed", {}).get(UNS, 0))

    async def flushed(self, timeout_s: float = 20.0) -> None:
        """Wait until the Mixer has rows for all that was stored."""
        await until(lambda: self.committed == self.sent, timeout_s)


@asynccontextmanager
async def honest(box: Box, port: int) -> AsyncIterator[HonestRack]:
    async with AsyncExitStack() as stack:
        leaf = Leaf(box.rack, box.folder / "leaf", box.remote(port), sync="1s")
        await stack.enter_async_context(leaf)
        bus = await stack.enter_async_context(await leaf.connect("rack"))
        await ensure_leaf_streams(bus, box.rack, leaf.store_dir)
        publisher = Publisher(bus, UNS)
        await publisher.open()
        rack = HonestRack(box, leaf, bus, publisher)
        heartbeat = asyncio.create_task(rack.keep_registered())
        try:
            yield rack
        finally:
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat
            await publisher.close()


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is in other processes
            await asyncio.sleep(0.02)


def refusals(lines: Sequence[str]) -> list[str]:
    """Give what the Mixer's log says of refusals."""
    return [line for line in lines if line.startswith("refused a Rack")]
