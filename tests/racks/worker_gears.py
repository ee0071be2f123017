"""Gears that run in workers: found there by their manifests, and each does one thing on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from fluxrig import errors
from fluxrig.errors import Fatal
from fluxrig.gear import IN, OUT, Batch, Context, Emit, Gear, GearConfig, Manifest, Outputs, Receipt
from racks.worker.isolated import Isolated


class Config(GearConfig):
    """What a gear is to do; each gear reads what it needs."""

    total: int | None = None
    batch: int = 1
    error: str = ""
    text: str = ""
    file: Path | None = None


def manifest(name: str, *, source: bool = False, inputs: tuple[str, ...] = ()) -> Manifest:
    return Manifest(
        kind=name.lower(),
        summary="",
        config=Config,
        gear=f"tests.racks.worker_gears:{name}",
        inputs=inputs,
        source=source,
    )


def isolated(kind: Manifest, context: Context, **settings: Any) -> Isolated:
    return Isolated(kind, Config(**settings), context)


class Counting(Gear[Config]):
    """Emits numbered messages; writes the number of each batch that settled, or why it did not, to `file`."""

    async def run(self, emit: Emit) -> None:
        waiting: list[asyncio.Task[None]] = []
        for start in count(0, self.config.batch):
            if self.config.total is not None and start >= self.config.total:
                break
            messages = [self.context.message({"seq": start + n}) for n in range(self.config.batch)]
            receipt = await emit(OUT, messages)
            waiting = [task for task in waiting if not task.done()]
            waiting.append(asyncio.create_task(self._settle(start, receipt)))
        await asyncio.gather(*waiting)

    async def _settle(self, start: int, receipt: Receipt) -> None:
        try:
            await receipt
            self._write(f"{start}")
        except errors.FluxrigError as error:
            self._write(f"{start} {type(error).__name__}: {error}")

    def _write(self, line: str) -> None:
        if self.config.file is not None:
            with self.config.file.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")


class Passing(Gear[Config]):
    """Passes what it takes, with how often it was opened and the process that it runs in."""

    max_batch = 100

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.opened = 0

    async def open(self) -> None:
        self.opened += 1

    async def process(self, batch: Batch, port: str) -> Outputs:
        return Outputs(m.replace(data={**m.data, "opened": self.opened, "pid": os.getpid()}) for m in batch)


class Raising(Gear[Config]):
    """Raises `error` with `text` over a batch that has the number 3; once only if there is a `file`."""

    async def process(self, batch: Batch, port: str) -> Outputs:
        if any(message.data["seq"] == 3 for message in batch) and not self._done_before():
            raise error_of(self.config)
        return Outputs(batch)

    def _done_before(self) -> bool:
        if self.config.file is None:
            return False
        done = self.config.file.exists()
        self.config.file.touch()
        return done


class Ending(Gear[Config]):
    """A source that emits one message and then raises `error`."""

    async def run(self, emit: Emit) -> None:
        await emit(OUT, [self.context.message({"seq": 0})])
        raise error_of(self.config)


def error_of(config: Config) -> BaseException:
    if config.error == "CancelledError":
        return asyncio.CancelledError()
    if config.error == "SystemExit":
        return SystemExit(3)
    made = getattr(errors, config.error, None) or {"ValueError": ValueError}[config.error]
    assert issubclass(made, Exception)
    return made(config.text)


class Sorting(Gear[Config]):
    """Rejects odd numbers, and a message of its own making for each batch; passes even ones on `even`."""

    async def process(self, batch: Batch, port: str) -> Outputs:
        outputs = Outputs()
        for message in batch:
            if message.data["seq"] % 2:
                outputs.reject(message, f"{message.data['seq']} is odd \udc80")
            else:
                outputs.add(message, "even")
        outputs.reject(self.context.message({"seq": -1}), "made here")
        return outputs


class Hanging(Gear[Config]):
    """Blocks its whole process over number 3: `text` says whether in a call, or awaiting politely."""

    async def process(self, batch: Batch, port: str) -> Outputs:
        if batch[0].data["seq"] == 3:
            await asyncio.sleep(3600) if self.config.text == "politely" else time.sleep(3600)  # noqa: ASYNC251
        return Outputs(batch)


class Dying(Gear[Config]):
    """Dies over number 3 in the way `text` says, once: `file` remembers."""

    async def process(self, batch: Batch, port: str) -> Outputs:
        assert self.config.file is not None
        if any(message.data["seq"] == 3 for message in batch) and not self.config.file.exists():
            self.config.file.touch()
            print("these are\nmy last words", file=sys.stderr, end="", flush=True)
            os._exit(7) if self.config.text == "exit" else os.kill(os.getpid(), signal.SIGKILL)
        return Outputs(batch)


class Unsayable(Gear[Config]):
    """A source of a good message, one without an encoding, and a good one."""

    async def run(self, emit: Emit) -> None:
        odd = self.context.message({"seq": {1, 2}}, meta={"\udc80": "x"})
        await emit(OUT, [self.context.message({"seq": 0}), odd, self.context.message({"seq": 2})])


class Impossible(Gear[Config]):
    """Can't be built."""

    def __init__(self, config: Config, context: Context) -> None:
        raise RuntimeError("no driver for this machine")


class Talking(Gear[Config]):
    """Logs and prints when it opens, then gives up."""

    async def open(self) -> None:
        self.context.log.info("first line\nsecond line")
        self.context.log.debug("not at this level")
        print("plain", file=sys.stderr, flush=True)
        raise Fatal("said all")


class Cleaning(Gear[Config]):
    """A source that emits for ever and writes to `file` when it was cancelled and when it was closed."""

    async def run(self, emit: Emit) -> None:
        assert self.config.file is not None
        try:
            for number in count():
                await emit(OUT, [self.context.message({"seq": number})])
        except asyncio.CancelledError:
            self.config.file.write_text("cancelled\n")
            raise

    async def close(self) -> None:
        assert self.config.file is not None
        if self.config.file.exists():
            self.config.file.write_text(f"{self.config.file.read_text()}closed\n")


class Stubborn(Gear[Config]):
    """Emits one message and then blocks its process in `run`, or in `close` if `text` says so."""

    async def run(self, emit: Emit) -> None:
        await emit(OUT, [self.context.message({"seq": 0})])
        await asyncio.sleep(3600) if self.config.text == "close" else time.sleep(3600)  # noqa: ASYNC251

    async def close(self) -> None:
        if self.config.text == "close":
            time.sleep(3600)  # noqa: ASYNC251


COUNTING = manifest("Counting", source=True)
PASSING = manifest("Passing", inputs=(IN,))
RAISING = manifest("Raising", inputs=(IN,))
ENDING = manifest("Ending", source=True)
SORTING = manifest("Sorting", inputs=(IN,))
HANGING = manifest("Hanging", inputs=(IN,))
DYING = manifest("Dying", inputs=(IN,))
UNSAYABLE = manifest("Unsayable", source=True)
IMPOSSIBLE = manifest("Impossible", source=True)
TALKING = manifest("Talking", source=True)
CLEANING = manifest("Cleaning", source=True)
STUBBORN = manifest("Stubborn", source=True)
