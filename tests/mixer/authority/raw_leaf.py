"""A leaf that does as it likes: NATS's leaf protocol by hand, with nothing of a nats-server's manners."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from fluxrig.bus import LeafRemote
from fluxrig.errors import FluxrigError
from fluxrig.identity.nkey import KeyPair

PATIENCE_S = 5.0


class Refused(FluxrigError):
    """The hub closed the connection, or the TLS layer would not have it."""


class RawLeaf:
    """A connection to the hub's leaf port that has been let in. `told` has every line that came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.told: list[str] = []
        self.messages: list[tuple[str, bytes]] = []
        self.permissions: dict[str, Any] = {}
        self._gone = asyncio.Event()
        self._in = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def come_in(self) -> None:
        """Wait until the hub has said what this leaf may do. Refused when it closes instead."""
        await self._first_of(self._in)
        if not self._in.is_set():
            raise Refused(self.told[-1] if self.told else "closed")

    async def cut(self, limit_s: float = PATIENCE_S) -> None:
        """Wait until the hub has closed the connection."""
        async with asyncio.timeout(limit_s):
            await self._gone.wait()

    @property
    def open(self) -> bool:
        return not self._gone.is_set()

    def publish(self, subject: str, payload: bytes = b"", reply: str = "", headers: bytes = b"") -> None:
        sizes = f"{len(headers)} {len(headers) + len(payload)}" if headers else f"{len(payload)}"
        verb = "HMSG" if headers else "LMSG"
        self.say(f"{verb} {subject} {reply + ' ' if reply else ''}{sizes}\r\n".encode() + headers + payload)

    def subscribe(self, subject: str) -> None:
        self.say(f"LS+ {subject}".encode())

    def say(self, line: bytes) -> None:
        self._writer.write(line + b"\r\n")

    async def flushed(self) -> None:
        """Wait until the hub has dealt with all that was said, or has closed."""
        before = self.told.count("PONG")
        self.say(b"PING")
        async with asyncio.timeout(PATIENCE_S):
            while self.open and self.told.count("PONG") == before:  # noqa: ASYNC110 - counted by the reader
                await asyncio.sleep(0.01)

    def interest(self) -> list[str]:
        """Give the subjects that the hub would like to have from this leaf."""
        return [line.split()[1] for line in self.told if line.startswith("LS+ ")]

    async def close(self) -> None:
        self._writer.transport.abort()
        await self._reading

    async def _first_of(self, event: asyncio.Event) -> None:
        waiting = [asyncio.create_task(one.wait()) for one in (event, self._gone)]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    async def _read(self) -> None:
        try:
            while line := (await self._reader.readline()).decode(errors="replace").strip():
                await self._take(line)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            self._gone.set()

    async def _take(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        if verb == "PING":
            self.say(b"PONG")
        elif verb in ("LMSG", "HMSG"):
            fields = rest.split()
            payload = (await self._reader.readexactly(int(fields[-1]) + 2))[:-2]
            self.messages.append((fields[0], payload))
        elif verb == "INFO" and json.loads(rest).get("connect_info"):
            self.permissions = json.loads(rest)
            self._in.set()
        self.told.append(line)


@asynccontextmanager
async def raw_leaf(
    remote: LeafRemote,
    name: str,
    *,
    tls: ssl.SSLContext | None = None,
    credentials: Path | None = None,
    **says: Any,
) -> AsyncIterator[RawLeaf]:
    """Dial the hub with what a Rack has; `says` changes what it says of itself. Raises Refused."""
    reader, writer = await asyncio.open_connection(*astuple(remote.addresses[0]), limit=1 << 21)
    try:
        nonce = json.loads((await reader.readline()).partition(b" ")[2])["nonce"]
        await writer.start_tls(tls or shown(remote), server_hostname="127.0.0.1")
    except (OSError, ConnectionError) as error:
        writer.transport.abort()
        raise Refused(str(error)) from None
    leaf = RawLeaf(reader, writer)
    try:
        proof = _proof(nonce, credentials or remote.credentials)
        connect = {"version": "2.15.1", "server_id": "N" * 56, "name": name, "headers": True}
        leaf.say(b"CONNECT " + json.dumps(connect | {"jetstream": True} | proof | says).encode())
        await leaf.come_in()
        yield leaf
    finally:
        await leaf.close()


def shown(remote: LeafRemote) -> ssl.SSLContext:
    """Give a TLS context that shows a Rack's certificate."""
    context = ssl.create_default_context(cafile=remote.ca)
    context.load_cert_chain(remote.certificate, remote.key)
    return context


def _proof(nonce: str, credentials: Path) -> dict[str, str]:
    lines = credentials.read_text().splitlines()
    jwt, seed = (lines[i + 1] for i, line in enumerate(lines) if line.startswith("-----BEGIN"))
    signature = KeyPair.from_seed(seed.encode()).sign(nonce.encode())
    return {"jwt": jwt, "sig": base64.urlsafe_b64encode(signature).rstrip(b"=").decode()}
