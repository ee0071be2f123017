"""One poll after another of the tags of one interval: which blocks to read, and which tags are illegal.

When a device calls a block illegal, the block is halved until the tags to blame stand alone: one wrong
address costs its own value and no neighbour's. Tags found illegal are left out, and tried again one by one,
rarely.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fluxrig.modbus.decode import BlockDecoder
from fluxrig.modbus.pdu import Refusal, read_request
from fluxrig.modbus.plan import Block
from fluxrig.modbus.quality import ILLEGAL, exception_reason
from fluxrig.modbus.tag import Tag, Value
from gears.io_modbus.terms import Answer, Lost

RETRY_ILLEGAL_NS: Final = 60_000_000_000
"""Each illegal tag is tried again about once in this time, at most one a poll."""
MAX_HALVINGS: Final = 32
"""Blocks halved in one poll; the rest wait for the next, so that a wrong tag list does not stall polling."""


class Query:
    """A block with all that is needed to read it, made once."""

    __slots__ = ("block", "decode", "request")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.request = read_request(block.table, block.start, block.count)
        self.decode = BlockDecoder(block.tags, block.start)


Read: TypeAlias = Callable[[Query], Awaitable[Answer]]
Plan: TypeAlias = Callable[[Iterable[Tag]], tuple[Block, ...]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request gave: values, and for tags whose bytes mean nothing the reason."""

    values: Mapping[str, Value]
    reasons: Mapping[str, str]
    sent_ns: int
    answered_ns: int


@dataclass(slots=True)
class Readings:
    """What one poll gave: for each tag a value in one of the requests, or a reason."""

    requests: list[Reading] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    lost: Lost | None = None
    """What ended the poll in its middle."""

    @property
    def values(self) -> Mapping[str, Value]:
        if len(self.requests) == 1:
            return self.requests[0].values
        return {name: value for request in self.requests for name, value in request.values.items()}

    def take(self, query: Query, answer: Answer) -> None:
        values, reasons = query.decode(answer.payload)
        self.requests.append(Reading(values, reasons, answer.sent_ns, answer.answered_ns))
        self.reasons.update(reasons)

    def blame(self, block: Block, reason: str) -> None:
        self.reasons.update((tag.name, reason) for tag in block.tags)


class Poller:
    """Polls tags of one device."""

    def __init__(self, tags: Iterable[Tag], plan: Plan) -> None:
        self._tags = tuple(tags)
        self._plan = tuple(map(Query, plan(self._tags)))
        self._queries = self._plan
        self._illegal: deque[Query] = deque()
        self._reasons: dict[str, str] = {}
        self._retry_ns = 0

    @property
    def illegal(self) -> dict[str, str]:
        """The tags that the device calls illegal, and its reason."""
        return dict(self._reasons)

    @property
    def probe(self) -> Query:
        """The first request, to see whether the device answers at all."""
        return (self._queries or self._plan)[0]

    async def poll(self, read: Read, now_ns: int) -> Readings:
        """Read all tags once. `now_ns` is a clock that never steps."""
        readings = Readings()
        try:
            if self._illegal and now_ns >= self._retry_ns:
                await self._retry(read, now_ns)
            await self._read_blocks(read, readings, now_ns)
        except Lost as lost:
            readings.lost = lost
            values = readings.values
            missing = (tag.name for tag in self._tags if tag.name not in values)
            readings.reasons = {name: readings.reasons.get(name, lost.reason) for name in missing}
        readings.reasons.update(self._reasons)
        return readings

    async def _read_blocks(self, read: Read, readings: Readings, now_ns: int) -> None:
        """Read block by block, and keep the blocks as this poll had to cut them."""
        pending, kept, halvings = deque(self._queries), [], 0
        while pending:
            query = pending.popleft()
            try:
                readings.take(query, await read(query))
            except Refusal as refusal:
                block = query.block
                can_halve = refusal.code in ILLEGAL and len(block.tags) > 1
                if can_halve and halvings < MAX_HALVINGS:
                    halvings += 1
                    pending.extendleft(map(Query, reversed(block.halves())))
                    continue
                readings.blame(block, exception_reason(refusal.code))
                if refusal.code in ILLEGAL and not can_halve:
                    self._leave_out(query, refusal, now_ns)
                    continue
            kept.append(query)
        self._queries = tuple(kept)

    def _leave_out(self, query: Query, refusal: Refusal, now_ns: int) -> None:
        self._illegal.append(query)
        self._reasons[query.block.tags[0].name] = exception_reason(refusal.code)
        self._put_off(now_ns)

    def _put_off(self, now_ns: int) -> None:
        self._retry_ns = now_ns + RETRY_ILLEGAL_NS // len(self._illegal)

    async def _retry(self, read: Read, now_ns: int) -> None:
        """Try the illegal tag that waited longest. If it answers, the device has changed: begin anew."""
        query = self._illegal[0]
        self._illegal.rotate(-1)
        self._put_off(now_ns)
        try:
            await read(query)
        except Refusal:
            return
        self._queries = self._plan
        self._illegal.clear()
        self._reasons.clear()
