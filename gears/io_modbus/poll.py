"""One poll after another over one connection: which blocks to read, and which tags are illegal.

When a device calls a block illegal, the block is halved until the tags to blame stand alone: one wrong
address costs its own value and no neighbour's. Tags found illegal are left out, and tried again one by one,
rarely.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gears.io_modbus.address import Table
from gears.io_modbus.connection import Lost, Refusal
from gears.io_modbus.plan import Block, plan
from gears.io_modbus.quality import ILLEGAL, exception_reason
from gears.io_modbus.tag import Tag, Value

Read: TypeAlias = Callable[[Table, int, int], Awaitable[list[int]]]

RETRY_ILLEGAL_NS: Final = 60_000_000_000
"""Each illegal tag is tried again about once in this time, at most one a poll."""
MAX_HALVINGS: Final = 32
"""Blocks halved in one poll; the rest wait for the next, so that a wrong tag list does not stall polling."""


@dataclass(slots=True)
class Readings:
    """What one poll gave: a value or a reason for each tag."""

    values: dict[str, Value] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    lost: Lost | None = None
    """What ended the connection in the middle of the poll."""

    def take(self, block: Block, answer: list[int]) -> None:
        for tag in block.tags:
            self.values[tag.name] = tag.value_in(answer, block.start)

    def blame(self, block: Block, reason: str) -> None:
        self.reasons.update((tag.name, reason) for tag in block.tags)


class Poller:
    """Polls the tags of one device."""

    def __init__(self, tags: Iterable[Tag], max_hole: int) -> None:
        self._tags = tuple(tags)
        self._plan = plan(self._tags, max_hole)
        self._blocks = self._plan
        self._illegal: deque[Block] = deque()
        self._reasons: dict[str, str] = {}
        self._retry_ns = 0

    @property
    def illegal(self) -> dict[str, str]:
        """The tags that the device calls illegal, and its reason."""
        return dict(self._reasons)

    async def poll(self, read: Read, now_ns: int) -> Readings:
        """Read all tags once. `now_ns` is a clock that never steps."""
        readings = Readings()
        try:
            if self._illegal and now_ns >= self._retry_ns:
                await self._retry(read, now_ns)
            await self._read_blocks(read, readings, now_ns)
        except Lost as lost:
            readings.lost = lost
            readings.reasons = {t.name: lost.reason for t in self._tags if t.name not in readings.values}
        readings.reasons.update(self._reasons)
        return readings

    async def _read_blocks(self, read: Read, readings: Readings, now_ns: int) -> None:
        """Read block by block, and keep the blocks as this poll had to cut them."""
        pending, kept, halvings = deque(self._blocks), [], 0
        while pending:
            block = pending.popleft()
            try:
                readings.take(block, await read(block.table, block.start, block.count))
            except Refusal as refusal:
                can_halve = refusal.code in ILLEGAL and len(block.tags) > 1
                if can_halve and halvings < MAX_HALVINGS:
                    halvings += 1
                    pending.extendleft(reversed(block.halves()))
                    continue
                readings.blame(block, exception_reason(refusal.code))
                if refusal.code in ILLEGAL and not can_halve:
                    self._leave_out(block, refusal, now_ns)
                    continue
            kept.append(block)
        self._blocks = tuple(kept)

    def _leave_out(self, block: Block, refusal: Refusal, now_ns: int) -> None:
        self._illegal.append(block)
        self._reasons[block.tags[0].name] = exception_reason(refusal.code)
        self._put_off(now_ns)

    def _put_off(self, now_ns: int) -> None:
        self._retry_ns = now_ns + RETRY_ILLEGAL_NS // len(self._illegal)

    async def _retry(self, read: Read, now_ns: int) -> None:
        """Try the illegal tag that waited longest. If it answers, the device has changed: begin anew."""
        block = self._illegal[0]
        self._illegal.rotate(-1)
        self._put_off(now_ns)
        try:
            await read(block.table, block.start, block.count)
        except Refusal:
            return
        self._blocks = self._plan
        self._illegal.clear()
        self._reasons.clear()
