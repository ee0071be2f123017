"""`mixer backup` and `mixer restore`: all that a Mixer can't make again, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fluxrig.cli.audit import DataOption, folder


def backup(
    file: Annotated[
        Path, typer.Argument(help="A file that is not there yet; it is made 0600.", dir_okay=False)
    ],
    data: DataOption = None,
) -> None:
    """Copy the Mixer's identity into one file: its keys, the Racks that it knows, its join tokens.

    The Mixer may run. The file has every secret of it: keep it where keys are kept.
    """
    from mixer.authority import backup as identity

    place = folder(data)
    names = identity.backup(place.identity, file)
    print(f"wrote {len(names)} files of {place.identity} to {file}; whoever has it can be this Mixer")


def restore(
    file: Annotated[Path, typer.Argument(help="What `mixer backup` wrote.", dir_okay=False)],
    data: DataOption = None,
) -> None:
    """Put the Mixer's identity back from a backup. The Mixer must not run.

    Racks that were revoked after the backup was made are enrolled again, unless their list is still there.
    """
    from mixer.authority import backup as identity

    place = folder(data)
    with place.held():
        names = identity.restore(file, place.identity)
    print(f"put back {len(names)} files in {place.identity}; check `mixer racks list`, and revoke again")
