"""The requests that read tags in few and lawful pieces. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from fluxrig.modbus.address import BIT_TABLES, TABLES, Span, Table
from fluxrig.modbus.tag import Tag

MAX_REGISTERS: Final = 125
MAX_BITS: Final = 2000


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may read (Modbus Application Protocol V1.1b3, §6.1 to §6.4), or less."""

    registers: int = MAX_REGISTERS
    bits: int = MAX_BITS

    def of(self, table: Table) -> int:
        return self.bits if table in BIT_TABLES else self.registers


LAWFUL: Final = Limits()


@dataclass(frozen=True, slots=True)
class Block:
    """One request: `count` bits or registers of a table from `start`, and the tags in them."""

    table: Table
    start: int
    count: int
    tags: tuple[Tag, ...]

    @classmethod
    def of(cls, tags: Sequence[Tag]) -> Block:
        """Give the smallest block that holds all of these tags of one table."""
        start = min(tag.start for tag in tags)
        return cls(tags[0].at.table, start, max(tag.end for tag in tags) - start, tuple(tags))

    @property
    def span(self) -> Span:
        return Span(self.table, self.start, self.start + self.count)

    @property
    def wasted(self) -> int:
        """How many of its addresses no tag asks for."""
        return self.count - len({number for tag in self.tags for number in range(tag.start, tag.end)})

    def halves(self) -> tuple[Block, Block]:
        """Split a block of several tags in two: what lies between the halves is read by neither."""
        middle = len(self.tags) // 2
        return Block.of(self.tags[:middle]), Block.of(self.tags[middle:])

    def __str__(self) -> str:
        return f"{self.table}/{self.start}+{self.count}"


def plan(
    tags: Iterable[Tag], max_hole: int, limits: Limits = LAWFUL, forbidden: Sequence[Span] = ()
) -> tuple[Block, ...]:
    """Give blocks that hold each tag of one unit once and whole, none larger than a request may be.

    Tags join a block across at most `max_hole` addresses that nobody asked for, none of them `forbidden`. A
    tag that is larger than a request, or in a forbidden range, stands alone: the configuration refuses it.
    """
    ordered = sorted(tags, key=lambda tag: (TABLES.index(tag.at.table), tag.start, tag.end, tag.name))
    blocks: list[Block] = []
    for table, of_table in groupby(ordered, key=lambda tag: tag.at.table):
        closed = [span for span in forbidden if span.table == table]
        blocks += _plan_table(of_table, max_hole, limits.of(table), closed)
    return tuple(blocks)


def _plan_table(tags: Iterable[Tag], max_hole: int, limit: int, closed: Sequence[Span]) -> Iterable[Block]:
    """Walk the tags of one table in order of address, and begin a block where the last can't grow."""
    members: list[Tag] = []
    end = 0
    for tag in tags:
        if members and not (
            tag.start <= end + max_hole
            and max(end, tag.end) - members[0].start <= limit
            and not any(span.start < tag.start and span.end > end for span in closed)
        ):
            yield Block.of(members)
            members, end = [], 0
        members.append(tag)
        end = max(end, tag.end)
    if members:
        yield Block.of(members)
