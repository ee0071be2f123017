"""What operators ask about projects: of the running Mixer, or of its files when none runs."""

from __future__ import annotations

import json
from typing import Final

from fluxrig.errors import FluxrigError
from mixer.folder import Folder, FolderTaken

PROJECTS: Final = "fluxrig.mixer.projects"


async def projects(folder: Folder, new: str = "") -> list[str]:
    """Give the names of all projects; make `new` first, if it is given. Raises FluxrigError."""
    try:
        with folder.held():
            authority = folder.authority()
            if new:
                authority.add_project(new)
            return sorted(authority.projects)
    except FolderTaken:
        if folder.running() is None:  # it is starting or stopping
            raise
    async with await folder.reach("mixer project") as bus:
        answer = json.loads(await bus.request(PROJECTS, new.encode()))
    if error := answer.get("error"):
        raise FluxrigError(error)
    return list(answer["projects"])
