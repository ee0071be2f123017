"""The gear: prints a batch a call, and never blocks the Rack on a reader that does not read."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from typing import Final

from fluxrig.errors import Fatal
from fluxrig.gear import Batch, Context, Gear, Outputs
from gears.stdout.config import Config
from gears.stdout.render import RENDER

CHUNK: Final = select.PIPE_BUF
"""A pipe that select calls writable takes this many bytes without blocking (POSIX)."""
LOOK_AGAIN_S: Final = 0.02


class Stdout(Gear[Config]):
    """Prints to the process's standard output, or to the descriptor `fd` if it is set before `open`."""

    max_batch = 1000

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.fd = -1
        self._torn = False

    async def open(self) -> None:
        if self.fd >= 0:
            return
        try:
            sys.stdout.flush()
            self.fd = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError) as error:
            raise Fatal("this process has no standard output; wire to another sink") from error

    async def process(self, batch: Batch, port: str) -> Outputs:
        render = RENDER[self.config.format]
        text = "".join([f"{render(message)}\n" for message in batch])
        await self._write(text.encode("utf-8", "backslashreplace"))
        return Outputs()

    async def _write(self, data: bytes) -> None:
        """Write all of it; a batch that was cut off by cancellation is closed by a line end first."""
        rest = memoryview(b"\n" + data if self._torn else data)
        self._torn = True
        try:
            while rest:
                await self._writable()
                rest = rest[os.write(self.fd, rest[:CHUNK]) :]
        except BlockingIOError:
            raise Fatal("standard output is in non-blocking mode and full; give the Rack its own") from None
        except OSError as error:
            raise Fatal(
                f"nobody reads standard output any more ({error.strerror}); stopped printing"
            ) from None
        self._torn = False

    async def _writable(self) -> None:
        """Wait until a chunk can be written without blocking the Rack."""
        while not select.select((), (self.fd,), (), 0)[1]:
            await self.context.clock.sleep(LOOK_AGAIN_S)
        await asyncio.sleep(0)
