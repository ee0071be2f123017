"""What Racks and projects may be called. The names go into subjects, certificates, folders and logs."""

from __future__ import annotations

import re
from typing import Final

DEFAULT_PROJECT: Final = "default"
RESERVED: Final = frozenset({"hub", "mixer"})
RACK_NAME: Final = "^[a-z0-9][a-z0-9-]{0,31}$"
_FORM: Final = re.compile(RACK_NAME)


def rack_fault(name: str) -> str | None:
    """Say what is wrong with a Rack's name, or None."""
    if not _FORM.fullmatch(name):
        return "a Rack's name has up to 32 of a-z, 0-9 and '-', and begins with a letter or digit"
    if name in RESERVED:
        return f"a Rack can't be called {name!r}, which stands for the centre; give it another name"
    return None


def project_fault(name: str) -> str | None:
    """Say what is wrong with a project's name, or None."""
    if not _FORM.fullmatch(name):
        return "a project's name has up to 32 of a-z, 0-9 and '-', and begins with a letter or digit"
    return None
