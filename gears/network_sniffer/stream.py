"""One direction of a TCP connection: bytes in order, from segments that come as they like (RFC 9293 §3.4)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

WINDOW: Final = 1 << 24
"""A sequence number further away than this belongs to another connection on the same ports."""

HELD_COST: Final = 256
"""What holding a segment costs besides its payload, in bytes."""

SLACK: Final = 1 << 16
"""How far before the first segment seen a stream may turn out to begin."""
UNSURE_SEGMENTS: Final = 64
UNSURE_NS: Final = 200_000_000
"""How long a stream whose start is not known waits for segments before the first one seen."""

MAX_HOLES: Final = 16
"""Holes of a stream that are remembered, the latest ones."""

_HALF: Final = 1 << 31
_WRAP: Final = (1 << 32) - 1

Held: TypeAlias = tuple[int, int, bytes, int, int]
"""(position, length on the wire, payload, frame, ts)."""


def _distance(seq: int, other: int) -> int:
    """How far `seq` is ahead of `other`, modulo 2³²: negative when it is behind."""
    return (seq - other + _HALF & _WRAP) - _HALF


class Sink(Protocol):
    """What takes the bytes of one direction."""

    def data(self, payload: bytes, frame: int, ts: int) -> None:
        """Take the next bytes in order. Each call is one segment, or what was new of it."""

    def gap(self, lost: int, *, cut: bool) -> None:
        """Take note that the next `lost` bytes were never captured; 0 when nobody can say how many.

        `cut`: their packet was captured, and they were cut off by the capture's snap length.
        """

    def late(self, payload: bytes, frame: int, ts: int, position: int) -> None:
        """Take bytes of a gap that was told already; `position` is that of the first in its stream."""

    def boundary(self) -> None:
        """Take note that what was given so far was a whole datagram."""


@dataclass(slots=True)
class Budget:
    """What all streams together hold, and the reassembly counters."""

    stream_limit: int
    total_limit: int
    held: int = 0
    retransmitted: int = 0
    out_of_order: int = 0
    gaps: int = 0
    lost_bytes: int = 0
    truncated_bytes: int = 0
    """Cut off by the snap length."""
    strays: int = 0
    """Segments whose sequence number is far from all that is expected."""


class Stream:
    """Puts the segments of one direction in order.

    Sequence numbers are kept as positions, counted from the first and never wrapping. A hole is skipped as
    soon as there is something behind it and the peer has acknowledged past it, or when holding back costs
    more than the budget allows.
    """

    __slots__ = (
        "_budget",
        "_cost",
        "_held",
        "_holes",
        "_stray",
        "acked",
        "finished",
        "isn",
        "next_seq",
        "position",
        "sink",
        "started",
        "unsure",
    )

    def __init__(self, sink: Sink, budget: Budget) -> None:
        self.sink = sink
        self.started = False
        """Whether anything told which sequence number comes next."""
        self.unsure = False
        """Whether the start was only guessed: nothing is handed on before the peer acknowledges something."""
        self.next_seq = 0
        self.isn: int | None = None
        self.position = 0
        self.acked = 0
        """How far the peer has acknowledged, as a position."""
        self.finished: int | None = None
        """The position of the FIN."""
        self._budget = budget
        self._held: list[Held] = []
        self._holes: list[tuple[int, int]] = []
        """What was skipped, from one position to another: it may still come, captured out of turn."""
        self._cost = 0
        self._stray: tuple[int, bytes, int, int, int] | None = None

    @property
    def unseen(self) -> int:
        """How many bytes the peer acknowledged that were not captured, or not yet."""
        return max(0, self.acked - self.position)

    def start(self, seq: int) -> None:
        """Expect `seq` next."""
        self.started, self.unsure = True, False
        self.next_seq = seq & _WRAP
        self.acked = self.position

    def segment(self, seq: int, payload: bytes, missing: int, frame: int, ts: int) -> None:
        """Take a segment in any order; `missing` bytes of its end were not captured."""
        if seq == self.next_seq and self.started and not (missing or self._held):
            self._stray = None
            size = len(payload)
            self.position += size
            self.next_seq = seq + size & _WRAP
            self.sink.data(payload, frame, ts)
            return
        if not self.started:
            self.start(seq - SLACK)
            self.unsure = True
        offset = self._offset(seq)
        if not -WINDOW < offset < WINDOW:
            self._far(seq, payload, missing, frame, ts)
            return
        self._stray = None
        if offset > 0:
            self._hold(self.position + offset, len(payload) + missing, payload, frame, ts)
        else:
            self._take(-offset, len(payload) + missing, payload, frame, ts)
        if self._held:
            self._release()

    def datagram(self, payload: bytes, missing: int, frame: int, ts: int) -> None:
        """Take a datagram: a beginning and an end of its own, in the order in which it came."""
        self.position += len(payload)
        if payload:
            self.sink.data(payload, frame, ts)
        if missing:
            self._lose(missing, cut=True)
        self.sink.boundary()

    def acknowledge(self, ack: int) -> None:
        """Note that the peer has all bytes before `ack`."""
        if ack == self.next_seq and self.started and not self._held:
            if self.acked < self.position:  # noqa: PLR1730 - max() would cost more than all else here
                self.acked = self.position
            return
        if not self.started:
            self.start(ack)
            return
        offset = self._offset(ack)
        if not -WINDOW < offset < WINDOW:
            return
        if self.position + offset > self.acked:
            self.acked = self.position + offset
            if self._held:
                self._release()

    def finish(self, seq: int) -> None:
        """Note a FIN at `seq`: nothing follows it."""
        if self.started and -WINDOW < (offset := self._offset(seq)) < WINDOW:
            self.finished = self.position + offset

    def flush(self) -> None:
        """Give what is held, over all holes; report what the peer acknowledged and nobody captured."""
        if self.unsure and self._held:
            self.acked = max(self.acked, self._held[0][0])
            self._settle()
            self._drain()
        while self._held:
            self._skip(self._held[0][0])
            self._drain()
        end = self.acked if self.finished is None else min(self.acked, self.finished)
        # A single byte may be a FIN that was not captured: it takes a sequence number.
        if end - self.position > 1:
            self._skip(end)

    def _offset(self, seq: int) -> int:
        """How far `seq` is from what is expected next, negative when it is behind."""
        return _distance(seq, self.next_seq)

    def _take(self, old: int, length: int, payload: bytes, frame: int, ts: int) -> None:
        """Hand on a segment that starts `old` bytes before what is expected next."""
        if old >= length:
            if not (self._holes and len(payload) == length and self._fill(old, payload, frame, ts)):
                self._budget.retransmitted += length > 0
            return
        fresh = payload[old:] if old else payload
        self._advance(length - old)
        if fresh:
            self.sink.data(fresh, frame, ts)
        if length > max(len(payload), old):
            self._lose(length - max(len(payload), old), cut=True)

    def _fill(self, old: int, payload: bytes, frame: int, ts: int) -> bool:
        """Hand on a segment that belongs into a hole, if it does."""
        start = self.position - old
        end = start + len(payload)
        for at, (first, last) in enumerate(self._holes):
            if first <= start and end <= last:
                left = (first, start), (end, last)
                self._holes[at : at + 1] = [hole for hole in left if hole[0] < hole[1]]
                self._budget.lost_bytes -= len(payload)
                self.sink.late(payload, frame, ts, start)
                return True
        return False

    def _hold(self, position: int, length: int, payload: bytes, frame: int, ts: int) -> None:
        entry = (position, length, payload, frame, ts)
        at = bisect_left(self._held, entry)
        if any(held[:2] == entry[:2] for held in self._held[max(0, at - 1) : at + 1]):
            self._budget.retransmitted += 1
            return
        self._budget.out_of_order += 1
        self._held.insert(at, entry)
        self._pay(len(payload) + HELD_COST)

    def _release(self) -> None:
        """Hand on what is in order; skip what will not come."""
        if self.unsure and not self._settle():
            return
        self._drain()
        budget = self._budget
        while self._held:
            if self._cost > budget.stream_limit or budget.held > budget.total_limit:
                self._skip(self._held[0][0])
            elif self.acked > self.position:
                self._skip(min(self.acked, self._held[0][0]))
            else:
                break
            self._drain()

    def _settle(self) -> bool:
        """Decide where a stream begins that was met in its middle; False: not yet."""
        first = self._held[0]
        waited = max(held[4] for held in self._held) - min(held[4] for held in self._held)
        if not self.acked and len(self._held) < UNSURE_SEGMENTS and waited < UNSURE_NS:
            return False
        self._advance((min(first[0], self.acked) if self.acked else first[0]) - self.position)
        self.unsure = False
        return True

    def _drain(self) -> None:
        done = 0
        for position, length, payload, frame, ts in self._held:
            if position > self.position:
                break
            done += 1
            self._pay(-len(payload) - HELD_COST)
            self._take(self.position - position, length, payload, frame, ts)
        del self._held[:done]

    def _skip(self, position: int) -> None:
        lost = position - self.position
        self._holes = [*self._holes[1 - MAX_HOLES :], (self.position, position)]
        self._advance(lost)
        self._lose(lost)

    def _lose(self, lost: int, *, cut: bool = False) -> None:
        if cut:
            self._budget.truncated_bytes += lost
        else:
            self._budget.gaps += 1
            self._budget.lost_bytes += lost
        self.sink.gap(lost, cut=cut)

    def _advance(self, length: int) -> None:
        self.position += length
        self.next_seq = self.next_seq + length & _WRAP

    def _pay(self, cost: int) -> None:
        self._cost += cost
        self._budget.held += cost

    def _far(self, seq: int, payload: bytes, missing: int, frame: int, ts: int) -> None:
        """Take a segment from nowhere: one is an error or a forgery, two together are a new connection.

        That is, a connection on the same ports whose start was not captured.
        """
        stray, self._stray = self._stray, (seq, payload, missing, frame, ts)
        if stray is None or abs(_distance(seq, stray[0])) >= WINDOW:
            self._budget.strays += 1
            return
        self.flush()
        self.finished = self._stray = None
        self.start(stray[0])
        self._lose(0)
        self.segment(*stray)
        self.segment(seq, payload, missing, frame, ts)
