"""Which addresses of a table can be read, found with few requests. Pure but for the asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Final, TypeAlias

Range: TypeAlias = tuple[int, int]
"""First and last address."""
Readable: TypeAlias = Callable[[int, int], Awaitable[bool]]
"""Says whether `count` addresses from `start` on can be read in one request."""

SAMPLE_STEP: Final = 10
"""Of a block that can't be read whole, every tenth address is tried before it counts as empty."""


async def find_ranges(
    readable: Readable, first: int, last: int, block: int, *, thorough: bool = False
) -> list[Range]:
    """Give the ranges between `first` and `last` that can be read, in rising order.

    A block that can be read whole costs one request. One that can't is halved until its readable parts stand
    alone, as far as any of a few addresses in it can be read, or `thorough`: without that a short range
    between the addresses that were tried may stay unfound. The ends of what is found are exact.
    """
    finder = _Finder(readable, thorough=thorough)
    found: list[Range] = []
    for start in range(first, last + 1, block):
        found += await finder.within(start, min(block, last + 1 - start))
    return await finder.grown(joined(found), first, last)


class _Finder:
    """Finds ranges, and asks for no single address twice."""

    def __init__(self, readable: Readable, *, thorough: bool) -> None:
        self._readable = readable
        self._thorough = thorough
        self._known: dict[int, bool] = {}

    async def within(self, start: int, count: int) -> list[Range]:
        """Give what can be read of `count` addresses."""
        if count == 1:
            return [(start, start)] if await self._single(start) else []
        if await self._whole(start, count):
            return [(start, start + count - 1)]
        if not self._thorough and not await self._any_of_a_few(start, count):
            return []
        half = count // 2
        return [*await self.within(start, half), *await self.within(start + half, count - half)]

    async def grown(self, ranges: list[Range], first: int, last: int) -> list[Range]:
        """Let ranges grow to where nothing can be read: what is beside one may have been taken for empty."""
        result: list[Range] = []
        for (low, high), (above, _) in pairwise([*ranges, (last + 1, last + 1)]):
            floor = result[-1][1] + 1 if result else first
            while low > floor and await self._single(low - 1):
                low -= 1  # noqa: PLW2901 - the range grows
            while high + 1 < above and await self._single(high + 1):
                high += 1  # noqa: PLW2901
            result.append((low, high))
        return joined(result)

    async def _whole(self, start: int, count: int) -> bool:
        if any(self._known.get(at) is False for at in range(start, start + count)):
            return False
        return await self._readable(start, count)

    async def _any_of_a_few(self, start: int, count: int) -> bool:
        for at in range(start, start + count, SAMPLE_STEP):
            if await self._single(at):
                return True
        return False

    async def _single(self, at: int) -> bool:
        if at not in self._known:
            self._known[at] = await self._readable(at, 1)
        return self._known[at]


def joined(ranges: list[Range]) -> list[Range]:
    """Join ranges, in rising order, that touch."""
    gaps = [(before, after) for before, after in pairwise(ranges) if after[0] != before[1] + 1]
    starts = [*ranges[:1], *(after for _, after in gaps)]
    ends = [*(before for before, _ in gaps), *ranges[-1:]]
    return [(start[0], end[1]) for start, end in zip(starts, ends, strict=True)]
