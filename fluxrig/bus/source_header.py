"""What the hub says of where a message came from: the header that it sets on all that a source brings.

`<stream>:<mark> <seq> <filters> <destinations> <subject>`, the lists joined by form feeds (nats-server,
server/stream.go, genSourceHeader).
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final, NamedTuple

_DIGITS: Final = digits + ascii_uppercase + ascii_lowercase
_MARK_CHARS: Final = 8
_FIELDS: Final = 5


class Source(NamedTuple):
    """One source of a stream."""

    mark: str
    """Of the Rack whose leaf it takes from: see `mark_of`."""
    root: str
    """The subject at and below which it takes messages."""

    def takes(self, subject: str) -> bool:
        """Tell whether it takes messages on `subject`."""
        return f"{subject}.".startswith(f"{self.root}.")


def parse_source(header: str) -> Source | None:
    """Read the header's value; None when it is nothing of the kind."""
    fields = header.split(" ")
    _, colon, mark = fields[0].partition(":")
    if len(fields) < _FIELDS or not colon:
        return None
    return Source(mark, fields[2].split("\f")[0])


@lru_cache(1024)
def mark_of(rack: str) -> str:
    """Give what stands for a Rack: a digest of its leaf's API (nats-server, server/events.go, getHash)."""
    digest = sha256(f"$JS.{rack}.API".encode()).digest()
    return "".join(_DIGITS[byte % len(_DIGITS)] for byte in digest[:_MARK_CHARS])
