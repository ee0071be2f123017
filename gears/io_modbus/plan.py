"""The requests that read all tags of a device in few and lawful pieces. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from gears.io_modbus.address import MAX_READ, TABLES, Table
from gears.io_modbus.tag import Tag


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

    def halves(self) -> tuple[Block, Block]:
        """Split a block of several tags in two: what lies between the halves is read by neither."""
        middle = len(self.tags) // 2
        return Block.of(self.tags[:middle]), Block.of(self.tags[middle:])

    def __str__(self) -> str:
        return f"{self.table}/{self.start}+{self.count}"


def plan(tags: Iterable[Tag], max_hole: int) -> tuple[Block, ...]:
    """Give blocks that hold each tag once and whole, none larger than a request may be.

    Tags join a block across at most `max_hole` addresses that nobody asked for.
    """
    ordered = sorted(tags, key=lambda tag: (TABLES.index(tag.at.table), tag.start, tag.end))
    blocks: list[Block] = []
    for table, of_table in groupby(ordered, key=lambda tag: tag.at.table):
        blocks += _plan_table(of_table, max_hole, MAX_READ[table])
    return tuple(blocks)


def _plan_table(tags: Iterable[Tag], max_hole: int, limit: int) -> Iterable[Block]:
    """Walk the tags of one table in order of address, and begin a block where the last can't grow."""
    members: list[Tag] = []
    end = 0
    for tag in tags:
        fits = members and tag.start <= end + max_hole and max(end, tag.end) - members[0].start <= limit
        if members and not fits:
            yield Block.of(members)
            members, end = [], 0
        members.append(tag)
        end = max(end, tag.end)
    if members:
        yield Block.of(members)
