"""The gear: brings packets from a file or an interface to the sniffer, and its messages to the wires."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Final

from fluxrig.errors import Fatal
from fluxrig.gear import OUT, Context, Emit, Gear
from gears.network_sniffer.capture_file import read_capture
from gears.network_sniffer.capture_filter import accepts, parse_filter
from gears.network_sniffer.capture_live import LiveCapture
from gears.network_sniffer.config import Config
from gears.network_sniffer.events import Recorder
from gears.network_sniffer.packet import CaptureDamaged, CaptureError, Packet
from gears.network_sniffer.reassembly import Limits
from gears.network_sniffer.replay import Pace
from gears.network_sniffer.sniffer import Settings, Sniffer

BATCH: Final = 1000
"""Messages handed on together."""
FLUSH_S: Final = 0.05
"""How long a message may wait for others to go with it."""
SLICE: Final = 256
"""Packets taken at a time, before other tasks get their turn."""
READ_AHEAD: Final = 4096
"""Packets read from a file at a time."""


class NetworkSniffer(Gear[Config]):
    """Listens, and never sends a packet."""

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self._live: LiveCapture | None = None
        self._flushed_ns = 0

    async def open(self) -> None:
        if self.config.interface is not None and self._live is None:
            expression = parse_filter(self.config.filter)
            promiscuous = self.config.promiscuous
            self._live = LiveCapture(self.config.interface, expression, promiscuous=promiscuous)
        elif self.config.file is not None:
            await asyncio.to_thread(_check_readable, self.config.file)

    async def close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    async def run(self, emit: Emit) -> None:
        self._flushed_ns = self.context.clock.monotonic_ns()
        if self._live is not None:
            await self._listen(self._live, emit)
        elif self.config.file is not None:
            for number in count():
                await self._replay(self.config.file, number, emit)
                if not self.config.repeat:
                    break

    async def _replay(self, path: Path, number: int, emit: Emit) -> None:
        """Read the file once; `number` counts the rounds."""
        packets = read_capture(path)
        identity = hashlib.blake2b(f"{self.context.src} {number}".encode(), digest_size=32)
        pace = Pace(self.context.clock) if self.config.replay == "realtime" else None
        sniffer: Sniffer | None = None
        damage: str | None = None
        while damage is None:
            chunk, damage = await asyncio.to_thread(_read_chunk, packets)
            if sniffer is None:
                sniffer = self._sniffer(_identify(identity.digest(), chunk))
            if not chunk:
                break
            await self._take(sniffer, chunk, pace, emit)
        assert sniffer is not None  # noqa: S101 - the loop ran once
        if damage:
            self.context.log.warning("%s: %s", path, damage)
            sniffer.damaged(damage)
        sniffer.finish()
        await self._flush(sniffer, emit)
        if number == 0 and not sniffer.packets:
            self.context.log.warning("%s has no packets", path)

    async def _take(self, sniffer: Sniffer, chunk: list[Packet], pace: Pace | None, emit: Emit) -> None:
        at = 0
        while at < len(chunk):
            due = SLICE if pace is None else await pace.due(chunk, at, SLICE, FLUSH_S)
            sniffer.feed(chunk[at : at + due])
            at += due
            await self._pass_on(sniffer, emit)

    async def _listen(self, live: LiveCapture, emit: Emit) -> None:
        sniffer = self._sniffer(os.urandom(32))
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(live.fileno(), readable.set)
        try:
            while True:
                # Not wait_for: before Python 3.12 it may swallow a cancellation.
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_S):
                        await readable.wait()
                readable.clear()
                packets = live.read(SLICE)
                sniffer.feed(packets)
                sniffer.kernel_drops = live.count_drops()
                if len(packets) < SLICE:
                    sniffer.tick(self.context.clock.now_ns())
                await self._pass_on(sniffer, emit)
        finally:
            loop.remove_reader(live.fileno())

    def _sniffer(self, identity: bytes) -> Sniffer:
        config, context = self.config, self.context
        limits = Limits(
            connections=config.max_connections,
            idle_ns=round(config.idle_timeout * 1e9),
            stream_bytes=config.max_stream_bytes,
            total_bytes=config.max_bytes,
        )
        settings = Settings(
            request_timeout_ns=round(config.request_timeout * 1e9),
            pending=config.max_pending,
            report_ns=round(config.report_every * 1e9),
            limits=limits,
        )
        accept = accepts(parse_filter(config.filter)) if config.filter else None
        return Sniffer(Recorder(context.src, context.uns, identity), settings, accept)

    async def _pass_on(self, sniffer: Sniffer, emit: Emit) -> None:
        """Hand on what is there when it is enough or has waited long enough; let others run in any case."""
        waited_ns = self.context.clock.monotonic_ns() - self._flushed_ns
        if sniffer.waiting >= BATCH or waited_ns >= FLUSH_S * 1e9:
            await self._flush(sniffer, emit)
        await asyncio.sleep(0)

    async def _flush(self, sniffer: Sniffer, emit: Emit) -> None:
        self._flushed_ns = self.context.clock.monotonic_ns()
        messages = sniffer.take()
        for start in range(0, len(messages), BATCH):
            await emit(OUT, messages[start : start + BATCH])


def _check_readable(path: Path) -> None:
    try:
        with suppress(CaptureDamaged):
            next(read_capture(path), None)
    except CaptureError as error:
        raise Fatal(str(error)) from error


def _read_chunk(packets: Iterator[Packet]) -> tuple[list[Packet], str | None]:
    """Read some packets; with them what is damaged, when the file ends so."""
    chunk: list[Packet] = []
    try:
        chunk.extend(islice(packets, READ_AHEAD))
    except CaptureDamaged as damage:
        return chunk, str(damage)
    except CaptureError as error:
        raise Fatal(str(error)) from error
    return chunk, None


def _identify(seed: bytes, chunk: list[Packet]) -> bytes:
    """Give what stands for a capture in the ids of its messages: who reads it, and its first packets."""
    digest = hashlib.blake2b(seed, digest_size=32)
    for ts, link, data, _ in chunk[:16]:
        digest.update(b"%d %d %d " % (ts, link, len(data)))
        digest.update(data)
    return digest.digest()
