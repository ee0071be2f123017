"""The link to the Mixer, with its token from a file or the environment."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fluxrig.identity.address import Address
from fluxrig.identity.join import VARIABLE
from fluxrig.rackfile.faults import Faults, Mark
from fluxrig.rackfile.file import DEFAULT_PORT, SnakeEntry
from fluxrig.rackfile.model import SnakeSpec

TOKEN_VARIABLE: Final = "FLUXRIG_SNAKE_TOKEN"  # noqa: S105 - the variable's name
_MAX_TOKEN: Final = 4096


def link(entry: SnakeEntry, folder: Path | None, environ: Mapping[str, str], token: str) -> SnakeSpec:
    at = Address.parse(entry.mixer, DEFAULT_PORT) if entry.mixer else None
    return SnakeSpec(
        host=at.host if at else "",
        port=at.port if at else 0,
        join_file=folder / entry.join if folder and entry.join else None,
        join=environ.get(VARIABLE, "").strip() if folder else "",
        token=token,
    )


def token(entry: SnakeEntry, folder: Path, environ: Mapping[str, str], mark: Mark, faults: Faults) -> str:
    """Give the token, or add why there is none. No message repeats it."""
    try:
        if entry.token_file is None:
            return _from_environment(environ) if environ.get(TOKEN_VARIABLE) else ""
        return _from_file(folder / entry.token_file, entry.token_file)
    except ValueError as error:
        faults.add(mark, str(error))
        return ""


def _from_environment(environ: Mapping[str, str]) -> str:
    found = environ.get(TOKEN_VARIABLE, "").strip()
    if not found:
        raise ValueError(
            f"the Snake has no token; set {TOKEN_VARIABLE}, or name a file with token_file: PATH"
        )
    return _checked(found, TOKEN_VARIABLE)


def _from_file(path: Path, name: str) -> str:
    what = f"the token file {name[:100]!r}"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{what} is not a regular file")
        if status.st_mode & stat.S_IRWXO:
            raise ValueError(f"{what} is open to everyone on this machine; run chmod 600 on it")
        with path.open("rb") as file:
            data = file.read(_MAX_TOKEN + 1)
    except OSError as error:
        raise ValueError(f"{what} cannot be read: {(error.strerror or 'unknown error').lower()}") from None
    found = data.decode("utf-8", "replace").strip()
    if not found:
        raise ValueError(f"{what} is empty; write the Mixer's token into it")
    return _checked(found, what)


def _checked(found: str, what: str) -> str:
    if len(found) > _MAX_TOKEN or not found.isascii() or not found.isprintable() or " " in found:
        raise ValueError(
            f"{what} holds no token: a token is one word of at most {_MAX_TOKEN} ASCII characters"
        )
    return found
