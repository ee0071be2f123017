"""nats-server as a supervised child."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import secrets
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from fluxrig.bus import binary, server_log
from fluxrig.bus.child import spawn
from fluxrig.bus.connection import MAX_PAYLOAD_BYTES
from fluxrig.bus.port import ReservedPort
from fluxrig.bus.store import StoreLock, write_private
from fluxrig.errors import ServerError

HOST: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 120.0  # a large store is read through before the server answers
STOP_TIMEOUT_S: Final = 10.0
RELOAD_TIMEOUT_S: Final = 10.0
_BACKOFF_S: Final = (0.05, 5.0)
_SETTLED_S: Final = 30.0  # a child that lived this long starts the back-off anew
_LOG_BYTES: Final = 4 << 20
_DISK_POLL_S: Final = 0.25
_FULL_BYTES: Final = 1 << 20
_ROOM_BYTES: Final = 8 << 20
_MEMORY: Final = "192MiB"
"""Where Go's collector begins to work harder. Left alone, it keeps what JetStream has cached of the last ten
seconds: half a GiB under load. A limit in our own environment goes first."""

_log = logging.getLogger(__name__)


class NatsServer:
    """One nats-server child on loopback, kept alive on the same port until `stop()`.

    `token` opens the client port; it is made for this run and lives only in memory and in a 0600 file that
    goes away with the server. `sync` says when JetStream's files reach the disk: "always" (before a message
    counts as stored) or an interval such as "1s". A crash or kill -9 of any process takes nothing either way.
    With an interval a power cut may take that much, and the sequences it took are given out again: a reader
    that had seen them, such as the hub of a leaf, misses the new ones. `on_trouble` hears one line each time
    the server can't be kept up.
    """

    def __init__(
        self,
        name: str,
        store_dir: Path,
        *,
        client_port: int = 0,
        sync: str = "always",
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.store_dir = store_dir
        self.token = secrets.token_urlsafe(32)
        self.sync = sync
        self.restarts = 0
        self._client_port = client_port
        self._on_trouble = on_trouble
        self._ports: dict[str, ReservedPort] = {}
        self._lock = StoreLock(store_dir)
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._down_for_s = 0.0
        self._log_from = 0
        self._follower = server_log.Follower(self._log_path)

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self._ports['client'].port}"

    @property
    def pid(self) -> int | None:
        """The child's process id, or None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Return when the server answers. ServerError, with nothing left running, says why not.

        On a full disk this waits for room: whoever starts it again and again would only fill a log, too.
        """
        if self._supervisor is not None:
            return
        while True:
            try:
                await self._start()
            except ServerError as error:
                if not self._is_full():
                    raise
                self._report(f"{error}; it goes on when there is room")
                await self._room()
            else:
                break
        self._supervisor = asyncio.create_task(self._supervise(), name=f"nats-server {self.name}")

    async def _start(self) -> None:
        await self._lock.acquire()
        try:
            self._reserve_ports()
            write_private(self._config_path, json.dumps(self._config(), indent=2))
            await self._launch()
        except BaseException:
            await self._clear_away()
            raise

    async def stop(self) -> None:
        """End the child and free the store. Twice is fine."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await supervisor
        await self._clear_away()

    def kill(self, down_for_s: float = 0.0) -> None:
        """Kill the child with -9; it is started again after `down_for_s` seconds."""
        self._down_for_s = down_for_s
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def news(self) -> list[str]:
        """Give what the child has logged since the last call."""
        return self._follower.lines()

    async def reload(self) -> None:
        """Have the child take the configuration as it is now. ServerError when it will not."""
        if self._supervisor is None:
            return
        write_private(self._config_path, json.dumps(self._config(), indent=2))
        start = _size(self._log_path)
        if (pid := self.pid) is not None:  # else it is being started, and reads the file anyway
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
                await self._reloaded(pid, start)

    async def _reloaded(self, pid: int, start: int) -> None:
        deadline = asyncio.get_running_loop().time() + RELOAD_TIMEOUT_S
        while self.pid == pid:
            said = server_log.tail(self._log_path, start)
            if "Reloaded server configuration" in said:
                return
            if "Failed to reload" in said or asyncio.get_running_loop().time() > deadline:
                why = server_log.explain(said) or f"it did not answer in {RELOAD_TIMEOUT_S:g} s"
                raise ServerError(f"nats-server {self.name!r} keeps its old configuration: {why}")
            await asyncio.sleep(0.01)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def _config_path(self) -> Path:
        return self.store_dir / "server.conf"

    @property
    def _log_path(self) -> Path:
        return self.store_dir / "server.log"

    def _reserve_ports(self) -> None:
        self._ports["client"] = ReservedPort(self._client_port, HOST)

    def _config(self) -> dict[str, Any]:
        return {
            "server_name": self.name,
            "host": HOST,
            "port": self._ports["client"].port,
            "max_payload": MAX_PAYLOAD_BYTES,
            "max_pending": 8 * MAX_PAYLOAD_BYTES,
            "log_file": str(self._log_path),
            "logfile_size_limit": _LOG_BYTES,
            "logfile_max_num": 3,
            "jetstream": {
                "store_dir": str(self.store_dir),
                "domain": self.name,
                "sync_interval": self.sync,
                "max_memory_store": 64 << 20,
                # The streams and the disk set the limits: an account-wide one would only add a third.
                "max_file_store": 1 << 50,
            },
        }

    async def _launch(self) -> None:
        """Start the child and wait until it answers."""
        command = (binary.find(), "-c", self._config_path)
        self._log_from = _size(self._log_path)
        error_path = self.store_dir / "server.err"
        try:
            with error_path.open("wb") as stderr:
                self._process = await spawn(
                    command, stderr=stderr, keep_fds=[self._lock.fd], environ={"GOMEMLIMIT": _MEMORY}
                )
        except OSError as error:
            raise ServerError(f"nats-server can't be started: {error}") from error
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._ready(self._process)
        except TimeoutError as error:
            raise ServerError(
                f"nats-server {self.name!r} did not answer in {START_TIMEOUT_S:.0f} s"
            ) from error
        except ServerError as error:
            said = server_log.explain(
                server_log.tail(error_path) + server_log.tail(self._log_path, self._log_from)
            )
            raise ServerError(f"nats-server {self.name!r} can't start: {said or error}") from None

    async def _ready(self, process: Process) -> None:
        while process.returncode is None:
            if await _answers(self._ports["client"].port):
                return
            await asyncio.sleep(0.01)
        raise ServerError(f"it ended with code {process.returncode}")

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        shortest, longest = _BACKOFF_S
        delay = shortest
        while (process := self._process) is not None:
            since = loop.time()
            healer = asyncio.create_task(self._heal_full_disk())
            try:
                code = await process.wait()
            finally:
                healer.cancel()
            if loop.time() - since > _SETTLED_S:
                delay = shortest
            self._report(f"nats-server {self.name!r} ended with code {code}; it is started again")
            pause, self._down_for_s = self._down_for_s, 0.0
            await asyncio.sleep(pause + delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(2 * delay, longest)
            try:
                await self._launch()
            except ServerError as error:
                self._report(str(error))
                await self._end_process()
            else:
                self.restarts += 1

    async def _heal_full_disk(self) -> None:
        """Restart the child once there is room again: JetStream gives up a stream after a failed write."""
        while not (why := self._nothing_stored()):  # noqa: ASYNC110 - a disk signals nothing
            await asyncio.sleep(_DISK_POLL_S)
        self._report(f"nothing is stored in {self.store_dir}: {why}")
        await self._room()
        self.kill()

    def _nothing_stored(self) -> str:
        """Say why the child may store nothing, or "". Its log is on the same disk, so it may be silent."""
        said = server_log.tail(self._log_path, self._log_from)
        if server_log.write_failed(said):
            return server_log.explain(said)
        return (
            "no space left on device; free some disk space"
            if _free_bytes(self.store_dir) < _FULL_BYTES
            else ""
        )

    async def _room(self) -> None:
        while self._is_full():  # noqa: ASYNC110 - a disk signals nothing
            await asyncio.sleep(_DISK_POLL_S)

    def _is_full(self) -> bool:
        return _free_bytes(self.store_dir) < _ROOM_BYTES

    def _report(self, trouble: str) -> None:
        _log.warning("%s", trouble)
        if self._on_trouble is not None:
            self._on_trouble(trouble)

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _clear_away(self) -> None:
        try:
            await self._end_process()
        finally:
            self._process = None
            for port in self._ports.values():
                port.release()
            if self._lock.fd >= 0:
                self._config_path.unlink(missing_ok=True)
            self._lock.release()


async def _answers(port: int) -> bool:
    """Tell whether a NATS server greets on the port."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(1.0):
            return (await reader.read(4)) == b"INFO"
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _free_bytes(path: Path) -> float:
    """Give the room where a folder is or would be; a place that can't be looked at is not a full disk."""
    try:
        return shutil.disk_usage(next(one for one in (path, *path.parents) if one.exists())).free
    except OSError:
        return math.inf


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
