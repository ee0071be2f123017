"""Where in the file a pydantic error points."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_core import ErrorDetails

from fluxrig.rackfile.faults import Mark
from fluxrig.rackfile.nodes import ListNode, MapNode, Node, ScalarNode, scalars


class Place:
    """The place of one error: the nearest node that its `loc` leads to, and what of the `loc` is no node."""

    def __init__(self, entry: Node, mark: Mark, details: ErrorDetails) -> None:
        self.node, self.key_mark, self.name = entry, mark, ""
        self.path: list[int | str] = []
        self.missing = ""
        self.branch: tuple[int, str] | None = None
        """Where a union parts: how deep in the path, and pydantic's name for the alternative."""
        loc = details["loc"]
        if details["type"] == "missing" and loc:
            self.missing, loc = str(loc[-1]), loc[:-1]
        for part in loc:
            if not self._step(part) and self.branch is None:
                self.branch = (len(self.path), str(part))

    def _step(self, part: int | str) -> bool:
        node = self.node
        if isinstance(node, MapNode) and isinstance(part, str) and part in node.values:
            self.name, self.key_mark, self.node = part, node.keys[part], node.values[part]
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            self.name, self.node = f"item {part + 1} of {self.name}", node.items[part]
            self.key_mark = self.node.mark
        else:
            return False
        self.path.append(part)
        return True

    @property
    def union(self) -> tuple[int | str, ...] | None:
        """The path of the union that the error belongs to, or None."""
        return tuple(self.path[: self.branch[0]]) if self.branch else None

    @property
    def deeper(self) -> bool:
        """Whether the error lies within an alternative of a union, which so has the right shape."""
        return self.branch is not None and (len(self.path) > self.branch[0] or bool(self.missing))

    @property
    def mark(self) -> Mark:
        return self.node.mark if isinstance(self.node, ScalarNode) else self.key_mark

    @property
    def used(self) -> dict[str, str]:
        """The variables in the node and below, with their values."""
        return {name: value for scalar in self._scalars() for name, value in scalar.used.items()}

    @property
    def broken(self) -> bool:
        """Whether the error may follow from a value that was reported already."""
        return not self.missing and any(scalar.broken for scalar in self._scalars())

    def _scalars(self) -> Iterator[ScalarNode]:
        return scalars(self.node)
