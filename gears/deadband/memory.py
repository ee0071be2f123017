"""What was last reported of each tag of each asset, bounded, and changed only as a whole batch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str]
"""UNS path and tag."""


class Report(NamedTuple):
    """The value, its quality and its time (ns since the Unix epoch) as they were passed on."""

    value: Any
    quality: str | None
    ts: int


class Memory:
    """Remembers up to `limit` keys, forgetting the one unused for longest."""

    def __init__(self, limit: int) -> None:
        self.forgotten = 0
        """Keys that had to make room."""
        self._limit = limit
        self._reports: OrderedDict[Key, Report] = OrderedDict()

    def __len__(self) -> int:
        return len(self._reports)

    def draft(self) -> Draft:
        """Begin a batch."""
        return Draft(self._reports)

    def commit(self, draft: Draft) -> None:
        """Take over what a batch changed, and note what it used."""
        for key in draft.used:
            if key in self._reports:
                self._reports.move_to_end(key)
        self._reports.update(draft.changed)
        while len(self._reports) > self._limit:
            self._reports.popitem(last=False)
            self.forgotten += 1


class Draft:
    """The memory as one batch sees it. Dropping it leaves no trace."""

    __slots__ = ("_before", "changed", "used")

    def __init__(self, before: OrderedDict[Key, Report]) -> None:
        self._before = before
        self.changed: dict[Key, Report] = {}
        self.used: dict[Key, None] = {}

    def get(self, key: Key) -> Report | None:
        self.used[key] = None
        return self.changed.get(key) or self._before.get(key)

    def put(self, key: Key, report: Report) -> None:
        self.changed[key] = report
