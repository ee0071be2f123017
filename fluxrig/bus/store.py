"""The folder where one nats-server keeps its streams: made private, and held by one process at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from fluxrig.errors import ServerError

LOCK_WAIT_S = 5.0


class StoreLock:
    """An exclusive flock on `<store>/lock`.

    The descriptor is also given to the nats-server child, so the store stays held until the last process that
    could write to it is gone, whichever of the two dies first.
    """

    def __init__(self, store_dir: Path) -> None:
        self.path = store_dir / "lock"
        self.fd = -1

    async def acquire(self) -> None:
        """Take the lock; wait a little, because the child of a killed process needs a moment to go."""
        store = self.path.parent
        try:
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            await self._wait()
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise ServerError(f"the store {store} can't be written: {error.strerror}") from error
        except BaseException:
            self.release()
            raise

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_WAIT_S
        while not _try_lock(self.fd):
            if loop.time() >= deadline:
                holder = os.pread(self.fd, 32, 0).decode(errors="replace").strip() or "unknown"
                store = self.path.parent
                raise ServerError(
                    f"the store {store} is in use by process {holder}: stop it, or choose another"
                )
            await asyncio.sleep(0.05)

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise ServerError(f"{path} can't be written: {error.strerror}") from error
