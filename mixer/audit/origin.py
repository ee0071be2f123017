"""Where a stored message came from, and what each leaf has sent so far."""

from __future__ import annotations

from typing import Final, NamedTuple

from fluxrig.bus import Stored
from fluxrig.bus.headers import COUNT, LEAF, RACK, SEQ

_LONGEST_NAME: Final = 128
_LONGEST_NUMBER: Final = 18
MAX_LEAVES: Final = 1000
"""Of a Rack, over its life: a store that was lost or damaged is followed by one with another id."""


class Origin(NamedTuple):
    """The Rack, its leaf's store, and its number of the first fluxMsg; None where a header is missing."""

    rack: str | None
    leaf: str | None
    leaf_seq: int | None
    messages: int
    """How many fluxMsgs the Rack put into it."""

    @property
    def key(self) -> str | None:
        """What `Marks` knows its leaf by."""
        return None if self.rack is None or self.leaf is None else f"{self.rack}/{self.leaf}"


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
    """By `<rack>/<leaf>`: the number of the last fluxMsg that has its row. A leaf's numbers have no gap.

    This, not the hub's sequence, makes a row unique: a hub that lost its store sources every leaf anew.
    """

    _owners: dict[str, str] | None = None

    def of(self, rack: str, leaf: str) -> int:
        """Give the number of the last one, -1 when there is none."""
        return self.get(f"{rack}/{leaf}", -1)

    def fault(self, origin: Origin) -> str:
        """Say why a Rack may not give numbers of the leaf that it names, or "".

        A leaf belongs to the Rack that first used its id, which is drawn at random.
        """
        if origin.key is None or origin.leaf is None or origin.key in self:
            return ""
        if self._owners is None or len(self._owners) != len(self):
            self._owners = {key.partition("/")[2]: key.partition("/")[0] for key in self}
        if origin.leaf in self._owners:
            return f"Rack {origin.rack} names {origin.leaf} as its leaf, which is another's"
        if sum(rack == origin.rack for rack in self._owners.values()) >= MAX_LEAVES:
            return f"Rack {origin.rack} has had {MAX_LEAVES} leaves, and names one more: {origin.leaf}"
        return ""

    def repeated(self, origin: Origin, count: int) -> int:
        """Take the next `count` messages of a leaf; give how many of them came before."""
        if origin.key is None or origin.leaf_seq is None:
            return 0
        mark = self.get(origin.key, -1)
        self[origin.key] = max(mark, origin.leaf_seq + count - 1)
        return min(count, max(0, mark - origin.leaf_seq + 1))
