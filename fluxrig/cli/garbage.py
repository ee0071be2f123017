"""How often Python looks for garbage in a process that handles messages."""

from __future__ import annotations

import gc
from typing import Final

ALLOCATIONS: Final = 20_000
"""Containers made and not freed before Python looks for cycles; its default is 700."""


def collect_seldom() -> None:
    """Look for garbage seldom: messages hold no cycles, so a look at every batch finds nothing."""
    gc.set_threshold(ALLOCATIONS, 20, 50)
