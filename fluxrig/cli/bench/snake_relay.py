"""A TCP relay on loopback that counts what goes through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

_HOST: Final = "127.0.0.1"
_CHUNK_BYTES: Final = 256 << 10


class Relay:
    """Between those who connect to `port` and a server on another port. `bytes` counts both directions."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.bytes = 0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection until either side ends it."""
        try:
            beyond = await asyncio.open_connection(_HOST, self._target)
        except OSError:
            writer.close()
            return
        pumps = [self._pump(reader, beyond[1]), self._pump(beyond[0], writer)]
        await asyncio.wait([asyncio.create_task(pump) for pump in pumps])

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                self.bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def relay(target: int) -> AsyncIterator[Relay]:
    """Relay to `target` from a free port."""
    one = Relay(target)
    server = await asyncio.start_server(one.serve, _HOST, 0, limit=_CHUNK_BYTES)
    try:
        one.port = server.sockets[0].getsockname()[1]
        yield one
    finally:
        server.close()
