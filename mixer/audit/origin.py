"""Where a stored message came from, and what each leaf has sent so far."""

from __future__ import annotations

from typing import Final, NamedTuple

from fluxrig.bus import Stored
from fluxrig.bus.headers import COUNT, LEAF, RACK, SEQ

_LONGEST_NAME: Final = 128
_LONGEST_NUMBER: Final = 18


class Origin(NamedTuple):
    """The Rack, its leaf's store, and its number of the first fluxMsg; None where a header is missing."""

    rack: str | None
    leaf: str | None
    leaf_seq: int | None
    messages: int
    """How many fluxMsgs the Rack put into it."""


def origin(stored: Stored) -> Origin:
    """Read the headers of one stored message; one that is not as it should be counts as missing."""
    headers = stored.headers or {}
    return Origin(
        _name(headers.get(RACK)),
        _name(headers.get(LEAF)),
        _number(headers.get(SEQ)),
        _number(headers.get(COUNT)) or 1,
    )


def _number(text: str | None) -> int | None:
    if not text or len(text) > _LONGEST_NUMBER or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def _name(text: str | None) -> str | None:
    return text if text and len(text) <= _LONGEST_NAME and text.isprintable() else None


class Marks(dict[str, int]):
    """By leaf: the number of the last fluxMsg that has its row. A leaf's numbers have no gap.

    This, not the hub's sequence, makes a row unique: a hub that lost its store sources every leaf anew.
    """

    def repeated(self, origin: Origin, count: int) -> int:
        """Take the next `count` messages of a leaf; give how many of them came before."""
        if origin.leaf is None or origin.leaf_seq is None:
            return 0
        mark = self.get(origin.leaf, -1)
        last = origin.leaf_seq + count - 1
        self[origin.leaf] = max(mark, last)
        return min(count, max(0, mark - origin.leaf_seq + 1))
