"""A Mixer in a process of its own, and a leaf whose messages it takes."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

from fluxrig.bus import UNS, Bus, Leaf, Parcel, Publisher, ensure_leaf_streams
from fluxrig.codec import encode_sequence
from fluxrig.errors import BusError
from fluxrig.message import FluxMsg
from mixer.folder import Folder

from .enrolled import Box, Office

RACK = "press-line-3"
PATH = "acme/lyon/press"


class MixerProcess:
    """`mixer up` on a folder; it can be killed and started again on the same port."""

    def __init__(self, data: Path, port: int, *options: str) -> None:
        script = "from fluxrig.cli.mixer import main; main()"
        command = [sys.executable, "-c", script, "up", "--data", str(data), "--listen", f"127.0.0.1:{port}"]
        self._process = subprocess.Popen(
            [
                *command,
                "--json",
                "--enrol",
                "127.0.0.1:0",
                "--sync",
                "1s",
                "--commit-every",
                "200ms",
                *options,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        with self._process:
            pass

    async def ready(self) -> dict[str, Any]:
        """Wait until Racks can dial in."""
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        found: dict[str, Any] = json.loads(line)
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as an operator would; give its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)


class Rack:
    """What a Rack is to the Mixer: a leaf with numbered messages, which registers again and again."""

    def __init__(self, bus: Bus, publisher: Publisher) -> None:
        self.bus = bus
        self.publisher = publisher
        self.sent = 0
        self.answer: dict[str, Any] = {}

    async def store(self, messages: int, each: int = 10) -> None:
        """Store so many messages on the leaf, `each` to a parcel."""
        parcels = []
        while messages > 0:
            batch = [self.message(self.sent + i) for i in range(min(each, messages))]
            parcels.append(
                Parcel("fluxrig.uns." + PATH.replace("/", "."), encode_sequence(batch), len(batch))
            )
            self.sent += len(batch)
            messages -= len(batch)
        await self.publisher.store(parcels)

    def message(self, number: int) -> FluxMsg:
        data = {"n": number, "half": number / 2}
        return FluxMsg(
            id=number.to_bytes(16),
            ts=number,
            src=f"{RACK}/press",
            uns=PATH,
            schema="fluxrig.tags/1",
            data=data,
        )

    async def register(self, **fields: Any) -> dict[str, Any]:
        request = {"leaves": {UNS: self.publisher.leaf}, "version": "1", **fields}
        answer: dict[str, Any] = json.loads(
            await self.bus.request(f"fluxrig.mixer.{RACK}.register", json.dumps(request).encode(), 1.0)
        )
        return answer

    async def keep_registered(self) -> None:
        while True:
            with suppress(BusError):
                self.answer = await self.register()
            await asyncio.sleep(0.05)

    @property
    def committed(self) -> int:
        """How many of its messages have rows, as the Mixer said last."""
        return int(self.answer.get("committed", {}).get(UNS, 0))

    async def flushed(self, timeout_s: float = 30.0) -> None:
        """Wait until the Mixer says that it has rows for all that was stored."""
        await until(lambda: self.committed == self.sent, timeout_s)


def enrol(folder: Path) -> None:
    """Have the Mixer whose data is in `folder`/mixer know the Rack, before it starts."""
    Office(Folder(folder / "mixer")).enrol(_box(folder))


def _box(folder: Path) -> Box:
    return Box(folder / "box", RACK, PATH)


@asynccontextmanager
async def rack(folder: Path, port: int) -> AsyncIterator[Rack]:
    """A leaf that dials the Mixer on `port`, registered as long as it lives. See `enrol`."""
    remote = _box(folder).remote(port)
    async with Leaf(RACK, folder / "leaf", remote, sync="1s") as leaf, await leaf.connect("rack") as bus:
        await ensure_leaf_streams(bus, RACK, leaf.store_dir)
        publisher = Publisher(bus, UNS)
        await publisher.open()
        one = Rack(bus, publisher)
        heartbeat = asyncio.create_task(one.keep_registered())
        try:
            yield one
        finally:
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat
            await publisher.close()


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.02)
