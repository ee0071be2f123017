"""What was done to a list of rows, told from the list that was signed and the list that is there."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["changed", "removed", "added", "moved"]


class Difference(NamedTuple):
    """One row. `row` is where it is now (where it would be, if removed), `was` where it was signed."""

    kind: Kind
    row: int
    was: int | None


def differences(signed: Sequence[Hashable], found: Sequence[Hashable]) -> Iterator[Difference]:
    """Give each row that isn't as it was signed; rows are told apart by a hash."""
    now, then = set(found), {row: place for place, row in enumerate(signed)}
    met: set[Hashable] = set()
    old = new = 0
    while old < len(signed) and new < len(found):
        was, has = signed[old], found[new]
        if was == has:
            met.add(has)
            old, new = old + 1, new + 1
        elif has not in then or has in met:
            kind: Kind = "added" if was in now else "changed"
            yield Difference(kind, new, None if kind == "added" else old)
            old, new = old + (kind == "changed"), new + 1
        elif was not in now:
            yield Difference("removed", new, old)
            old += 1
        elif was in met or (old + 1 < len(signed) and signed[old + 1] == has):
            old += 1  # it is further on, and told there
        else:
            yield Difference("moved", new, then[has])
            met.add(has)
            old, new = old + (new + 1 >= len(found) or found[new + 1] != was), new + 1
    for place in range(new, len(found)):
        is_moved = found[place] in then and found[place] not in met
        met.add(found[place])
        yield Difference("moved" if is_moved else "added", place, then[found[place]] if is_moved else None)
    yield from (
        Difference("removed", len(found), place)
        for place in range(old, len(signed))
        if signed[place] not in met
    )
