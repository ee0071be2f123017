"""The gear: brings packets from files or interfaces to the sniffer, and its messages to the wires."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from fluxrig.errors import Fatal, NotReady
from fluxrig.gear import OUT, Context, Emit, Gear
from gears.network_sniffer.baseline_file import BaselineFile
from gears.network_sniffer.capture_file import read_capture
from gears.network_sniffer.capture_filter import parse_filter
from gears.network_sniffer.capture_folder import CaptureFiles, list_captures
from gears.network_sniffer.capture_follow import FollowedCapture
from gears.network_sniffer.capture_live import LATE_NS, LiveCaptures
from gears.network_sniffer.config import Config
from gears.network_sniffer.packet import CaptureDamaged, CaptureError, Packet
from gears.network_sniffer.replay import Pace
from gears.network_sniffer.setup import make_sniffer
from gears.network_sniffer.sniffer import Sniffer

BATCH: Final = 1000
"""Messages handed on together."""
FLUSH_S: Final = 0.05
"""How long a message may wait for others to go with it."""
SLICE: Final = 256
"""Packets taken at a time, before other tasks get their turn."""
READ_AHEAD: Final = 4096
"""Packets read from a file at a time."""
GOODBYE_S: Final = 1.0
"""How long a cancelled gear may take to hand on what it has."""


class NetworkSniffer(Gear[Config]):
    """Listens, and never sends a packet."""

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self._live: LiveCaptures | None = None
        self._flushed_ns = 0
        self._baseline = None if config.baseline is None else BaselineFile(config.baseline, context.log)

    async def open(self) -> None:
        config = self.config
        if self._baseline is not None and self._baseline.learned is None:
            await asyncio.to_thread(self._baseline.load)
        if config.interfaces and self._live is None:
            expression = parse_filter(config.filter)
            self._live = LiveCaptures(config.interfaces, expression, promiscuous=config.promiscuous)
            self._tell_small_rings(self._live)
        elif config.file is not None and config.follow:
            if not await asyncio.to_thread(config.file.exists):
                raise NotReady(f"there is no capture {config.file} yet")
        elif config.file is not None:
            await asyncio.to_thread(self._check_readable, config.file)

    async def close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    async def run(self, emit: Emit) -> None:
        self._flushed_ns = self.context.clock.monotonic_ns()
        if self._live is not None:
            await self._listen(self._live, emit)
        elif self.config.file is not None and self.config.follow:
            await self._follow(self.config.file, emit)
        elif self.config.file is not None:
            for number in count():
                await self._replay(self.config.file, number, emit)
                if not self.config.repeat:
                    break

    async def _replay(self, path: Path, number: int, emit: Emit) -> None:
        """Read the file, or all of the folder, once; `number` counts the rounds."""
        pace = Pace(self.context.clock, self.config.speed) if self.config.replay == "realtime" else None
        try:
            files = await asyncio.to_thread(CaptureFiles, path, self.context.log)
            chunk, damages = await asyncio.to_thread(files.read, READ_AHEAD)
            sniffer = self._sniffer(_identify(f"{self.context.src} {number}", chunk))
            while chunk or damages:
                await self._take(sniffer, chunk, pace, emit)
                self._tell_damage(sniffer, damages)
                chunk, damages = await asyncio.to_thread(files.read, READ_AHEAD)
        except CaptureError as error:
            raise Fatal(str(error)) from error
        sniffer.finish()
        await self._keep_baseline(sniffer)
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

    async def _follow(self, path: Path, emit: Emit) -> None:
        capture = await asyncio.to_thread(FollowedCapture, path)
        sniffer: Sniffer | None = None
        try:
            while True:
                packets, damages = capture.read(SLICE)
                if sniffer is None and packets:
                    sniffer = self._sniffer(_identify(f"{self.context.src} 0", packets))
                if sniffer is not None:
                    sniffer.feed(packets)
                    self._tell_damage(sniffer, damages)
                    await self._pass_on(sniffer, emit)
                if not packets:
                    await asyncio.sleep(FLUSH_S)
        except asyncio.CancelledError:
            await self._say_goodbye(sniffer, emit)
            raise
        finally:
            # Shielded: a thread must not outlive its gear because that was cancelled twice.
            await asyncio.shield(asyncio.to_thread(capture.close))

    async def _listen(self, captures: LiveCaptures, emit: Emit) -> None:
        sniffer, clock = self._sniffer(os.urandom(32)), self.context.clock
        readable = asyncio.Event()
        packets: list[Packet] = []
        try:
            with _readers(captures, readable.set):
                while True:
                    # Not wait_for: before Python 3.12 it may swallow a cancellation.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(FLUSH_S):
                            await readable.wait()
                    readable.clear()
                    packets = captures.read(clock.now_ns())
                    sniffer.kernel_drops = captures.count_drops()
                    if not packets:
                        sniffer.tick(clock.now_ns() - LATE_NS)
                    while packets:
                        sniffer.feed(packets[:SLICE])
                        del packets[:SLICE]
                        await self._pass_on(sniffer, emit)
                    await self._pass_on(sniffer, emit)
        finally:
            sniffer.feed([*packets, *captures.rest()])
            await self._say_goodbye(sniffer, emit)

    def _sniffer(self, identity: bytes) -> Sniffer:
        return make_sniffer(
            self.config,
            self.context.src,
            self.context.uns,
            identity,
            None if self._baseline is None else self._baseline.learned,
        )

    async def _keep_baseline(self, sniffer: Sniffer, now_s: float | None = None) -> None:
        if self._baseline is not None:
            await self._baseline.keep(sniffer.baseline, now_s)

    def _tell_small_rings(self, captures: LiveCaptures) -> None:
        for capture in captures.captures:
            if capture.ring_bytes < captures.ring_bytes:
                given, wanted = capture.ring_bytes >> 20, captures.ring_bytes >> 20
                self.context.log.warning(
                    "%s: memory for a ring of %d MiB, not of %d", capture.interface, given, wanted
                )

    def _tell_damage(self, sniffer: Sniffer, damages: list[str]) -> None:
        for damage in damages:
            self.context.log.warning("%s", damage)
            sniffer.damaged(damage)

    async def _say_goodbye(self, sniffer: Sniffer | None, emit: Emit) -> None:
        """Hand on what is there, and how it stands, before a cancelled gear goes."""
        if sniffer is None:
            return
        sniffer.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._keep_baseline(sniffer)
                await self._flush(sniffer, emit)

    async def _pass_on(self, sniffer: Sniffer, emit: Emit) -> None:
        """Hand on what is there when it is enough or has waited long enough; let others run in any case."""
        now_ns = self.context.clock.monotonic_ns()
        waited_ns = now_ns - self._flushed_ns
        if sniffer.waiting >= BATCH or waited_ns >= FLUSH_S * 1e9:
            await self._flush(sniffer, emit)
            await self._keep_baseline(sniffer, now_ns / 1e9)
        await asyncio.sleep(0)

    async def _flush(self, sniffer: Sniffer, emit: Emit) -> None:
        self._flushed_ns = self.context.clock.monotonic_ns()
        messages = sniffer.take()
        for start in range(0, len(messages), BATCH):
            await emit(OUT, messages[start : start + BATCH])

    def _check_readable(self, path: Path) -> None:
        try:
            captures = list_captures(path, self.context.log) if path.is_dir() else [path]
            with suppress(CaptureDamaged):
                next(read_capture(captures[0]), None)
        except IndexError:
            raise Fatal(f"there is no capture in the folder {path}; give one with pcap files") from None
        except CaptureError as error:
            raise Fatal(str(error)) from error


@contextmanager
def _readers(captures: LiveCaptures, wake: Callable[[], None]) -> Iterator[None]:
    """Call `wake` when there is something to read."""
    loop = asyncio.get_running_loop()
    filenos = [capture.fileno() for capture in captures.captures]
    for fileno in filenos:
        loop.add_reader(fileno, wake)
    try:
        yield
    finally:
        for fileno in filenos:
            loop.remove_reader(fileno)


def _identify(seed: str, chunk: list[Packet]) -> bytes:
    """Give what stands for a capture in the ids of its messages: who reads it, and its first packet."""
    digest = hashlib.blake2b(seed.encode(), digest_size=32)
    for ts, link, data, _ in chunk[:1]:
        digest.update(b" %d %d " % (ts, link))
        digest.update(data)
    return digest.digest()
