"""Real processes for tests: started in their own session, watched, and gone when the test is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fluxrig.errors import BusError, FluxrigError
from mixer.enrolment.client import ask
from mixer.folder import Folder

FLUXRIG = (sys.executable, "-m", "fluxrig")
MIXER = (sys.executable, "-c", "from fluxrig.cli.mixer import main; main()")


class Running:
    """One process with its log on disk."""

    def __init__(self, command: Sequence[str], log: Path, cwd: Path | None = None, **environ: str) -> None:
        self.log = log
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=cwd,
                env={**os.environ, **environ},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def child(self, name: str = "nats-server") -> int | None:
        """The process id of the child of that name, if there is one now."""
        try:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split()
            return next((int(pid) for pid in pids if _name(pid) == name), None)
        except OSError:
            return None

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self, number: int = signal.SIGTERM, limit_s: float = 30.0) -> tuple[int, str]:
        """Send a signal, wait for the end, and give exit code and standard output."""
        self.process.send_signal(number)
        return self.wait(limit_s)

    def wait(self, limit_s: float = 30.0) -> tuple[int, str]:
        try:
            out, _ = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {limit_s:g} s; its log:\n{self.said()}") from None
        return self.process.returncode, out.decode()

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")


@contextmanager
def running(command: Sequence[str], log: Path, cwd: Path | None = None, **environ: str) -> Iterator[Running]:
    """Run a process for the length of a `with`."""
    process = Running(command, log, cwd, **environ)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.kill()
        elif process.process.stdout is not None:
            process.process.stdout.close()


def until(condition: Callable[[], Any], what: str, limit_s: float = 30.0) -> Any:
    """Wait until `condition` gives something true, and give that."""
    deadline = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {limit_s:g} s"
        time.sleep(0.02)
    return result


def _name(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that another process replaces; {} while there is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    assert isinstance(value, dict)
    return value


async def join_token(data: Path, limit_s: float = 60.0, **order: Any) -> str:
    """Have the Mixer on a data folder, once it runs, make a token that lets in whoever shows it."""
    wanted = {"verb": "token-create", "approve": True, "by": "test", **order}
    async with asyncio.timeout(limit_s):
        while True:
            with suppress(FluxrigError):
                made: dict[str, Any] = await ask(Folder(data), wanted)
                return str(made["token"])
            await asyncio.sleep(0.02)


def free_port() -> int:
    """Give a loopback port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead but not reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def until_async(look: Callable[[], Awaitable[Any]], wanted: Any, limit_s: float = 30.0) -> None:
    """Wait until `look` gives `wanted`; the other side may be away meanwhile."""
    found = None
    try:
        async with asyncio.timeout(limit_s):
            while found != wanted:
                with suppress(BusError):
                    found = await look()
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{wanted!r} did not come within {limit_s:g} s, but {found!r}") from None
