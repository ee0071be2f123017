"""The worker's process: started, heard, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from contextlib import suppress
from typing import Final, Self, cast

END_S: Final = 1.0
"""How long a worker may take to end by itself."""
MAX_LINE_BYTES: Final = 8192
_LOGGED: Final = re.compile(r"<(\d{1,2})>([^:\s]+): (.*)")
"""A log record as `host` prints it: its level, its logger, its text."""


class Process(asyncio.SubprocessProtocol):
    """Hears what the worker prints on its standard error: log records, and its last words."""

    def __init__(self, log: logging.Logger) -> None:
        self.exited = asyncio.Event()
        self._log = log
        self._silent = asyncio.Event()
        self._rest = b""
        self._last_words: deque[str] = deque(maxlen=3)
        self._killed_for = ""
        self._transport: asyncio.SubprocessTransport | None = None

    @classmethod
    async def start(cls, title: str, log: logging.Logger) -> tuple[Self, socket.socket]:
        """Start a worker; give it and our end of the socket.

        It has a session of its own, so that Ctrl-C does not reach it, and finds modules where we find them.
        `title` is for those who list processes.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                command = ("-P", "-m", "racks.worker", str(theirs.fileno()), str(os.getpid()), title)
                _, process = await asyncio.get_running_loop().subprocess_exec(
                    lambda: cls(log),
                    sys.executable,
                    *command,
                    stdin=DEVNULL,
                    stdout=None,
                    stderr=PIPE,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                )
        except BaseException:
            ours.close()
            raise
        return process, ours

    @property
    def pid(self) -> int:
        return self._started.get_pid()

    @property
    def _started(self) -> asyncio.SubprocessTransport:
        if self._transport is None:
            raise RuntimeError("the worker was not started")
        return self._transport

    def kill(self, reason: str) -> None:
        """End the worker at once, for this reason. One that has ended is left alone."""
        if not self.exited.is_set():
            self._killed_for = self._killed_for or reason
            with suppress(ProcessLookupError):
                self._started.kill()

    async def end(self) -> None:
        """See the worker to its end, which follows from hanging up; kill it when it lingers."""
        try:
            async with asyncio.timeout(END_S):
                await self.exited.wait()
        except TimeoutError:
            pass
        finally:
            self.kill("it did not end when told to")
            with suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self.exited.wait()
            self._started.close()

    async def obituary(self) -> str:
        """Say how the worker ended. One that lives without being reachable is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self.exited.wait()
                await self._silent.wait()
        self.kill("it hung up")
        words = "; ".join(self._last_words)
        return f"its worker {self._fate()}{': ' if words else ''}{words}"

    def _fate(self) -> str:
        if self._killed_for:
            return f"(process {self.pid}) was killed: {self._killed_for}"
        code = self._started.get_returncode()
        if code is None or code >= 0:
            return f"(process {self.pid}) ended with exit code {code}"
        try:
            return f"(process {self.pid}) was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"(process {self.pid}) was killed by signal {-code}"

    # --- what the transport says ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._hear(line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip())

    def _hear(self, line: str) -> None:
        if logged := _LOGGED.fullmatch(line):
            logging.getLogger(logged[2]).log(int(logged[1]), "%s", logged[3])
        elif line:
            self._last_words.append(line[:200])
            self._log.warning("%s", line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._hear(self._rest.decode("utf-8", "replace").rstrip())
        self._silent.set()

    def process_exited(self) -> None:
        self.exited.set()
