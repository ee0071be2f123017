"""The listening socket: who is let in, and what is left of them when it closes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, TypeAlias

from fluxrig.clock import Clock
from fluxrig.errors import Fatal, NotReady

NEWS_NS: Final = 60_000_000_000
"""Clients that are turned away are reported at most this often."""

Serve: TypeAlias = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]
"""Serves the named client to its end, and says what that was."""


class Listener:
    """Serves at most `max_clients` at a time, from the networks `allow` if there are any."""

    def __init__(
        self,
        serve: Serve,
        *,
        max_clients: int,
        allow: Sequence[IPv4Network | IPv6Network],
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self.port = 0
        """Where it listens while it is open."""
        self._serve = serve
        self._max_clients = max_clients
        self._allow = allow
        self._clock = clock
        self._log = log
        self._server: asyncio.Server | None = None
        self._is_open = False
        self._clients: set[asyncio.Task[None]] = set()
        self._turned_away = 0
        self._news_ns = 0

    async def open(self, host: str, port: int) -> None:
        """Listen, or raise what the engine should do."""
        self._is_open = True
        try:
            self._server = await asyncio.start_server(self._welcome, host, port)
        except OSError as error:
            raise _cannot_listen(f"tcp://{host}:{port}", error) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and let go of every client. Twice is fine."""
        self._is_open = False
        if self._server is not None:
            self._server.close()
            self._server = None
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername") or ("?", 0)
        task = asyncio.current_task()
        if task is None or not self._is_open or not self._lets_in(peer[0]):
            writer.transport.abort()
            return
        name = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
        self._clients.add(task)
        try:
            self._log.info("client %s connected", name)
            self._log.info("client %s: %s", name, await self._serve(name, reader, writer))
        finally:
            self._clients.discard(task)
            writer.transport.abort()

    def _lets_in(self, host: str) -> bool:
        if len(self._clients) >= self._max_clients:
            return self._turn_away(host, f"there are {len(self._clients)} already; raise max_clients")
        with contextlib.suppress(ValueError):
            address = ip_address(host.partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            if not self._allow or any(address in network for network in self._allow):
                return True
        return self._turn_away(host, "its network is not in allow")

    def _turn_away(self, host: str, why: str) -> bool:
        self._turned_away += 1
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._news_ns:
            self._news_ns = now_ns + NEWS_NS
            self._log.warning("turned away %s, %d so far: %s", host, self._turned_away, why)
        return False


def _cannot_listen(place: str, error: OSError) -> NotReady | Fatal:
    if error.errno in (errno.EACCES, errno.EPERM):
        return Fatal(f"may not listen on {place}; take a port above 1023, or grant CAP_NET_BIND_SERVICE")
    if error.errno == errno.EADDRINUSE:
        return NotReady(f"{place} is in use; stop what listens there, or take another port")
    return NotReady(f"can't listen on {place} ({error.strerror or error}); is it this machine's address?")
