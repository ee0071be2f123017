"""Wires: bounded queues between gears, counted in messages, and the inbox that reads several fairly."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator

from fluxrig.errors import Dropped, FluxrigError
from fluxrig.gear import Batch
from fluxrig.rackfile.model import WhenFull
from racks.receipt import Receipt


class InFlight:
    """Counts the deliveries under way in one engine, so that draining knows when the last is settled."""

    def __init__(self) -> None:
        self.deliveries = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def started(self) -> None:
        self.deliveries += 1
        self._idle.clear()

    def ended(self) -> None:
        self.deliveries -= 1
        if not self.deliveries:
            self._idle.set()

    async def idle(self) -> None:
        await self._idle.wait()


class Delivery:
    """One batch on its way to one input port. It is settled exactly once, and its receipts with it."""

    __slots__ = ("_in_flight", "batch", "failure", "port", "receipts")

    def __init__(self, batch: Batch, port: str, receipts: tuple[Receipt, ...], in_flight: InFlight) -> None:
        self.batch = batch
        self.port = port
        self.receipts = receipts
        self.failure: FluxrigError | None = None
        self._in_flight = in_flight
        for receipt in receipts:
            receipt.hold()
        in_flight.started()

    def settle(self, error: FluxrigError | None = None) -> None:
        for receipt in self.receipts:
            receipt.settle(error or self.failure)
        self._in_flight.ended()


class Wire:
    """A queue of at most `capacity` messages into one input port of one inbox."""

    def __init__(self, inbox: Inbox, port: str, capacity: int, when_full: WhenFull) -> None:
        self.port = port
        self.capacity = capacity
        self.dropped = 0
        self._when_full = when_full
        self._inbox = inbox
        self._deliveries: deque[Delivery] = deque()
        self._messages = 0
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()
        inbox.add(self)

    def __len__(self) -> int:
        """Messages waiting."""
        return self._messages

    async def put(self, batch: Batch, receipts: tuple[Receipt, ...], in_flight: InFlight) -> None:
        """Queue a batch, in pieces if it is larger than the wire; wait for room unless the wire drops."""
        async with self._turn:  # two emitters on one wire keep their batches whole and in order
            for piece in _pieces(batch, self.capacity):
                if self._when_full == "block":
                    await self._wait_for_room(len(piece))
                else:
                    self._make_room(len(piece))
                self._deliveries.append(Delivery(piece, self.port, receipts, in_flight))
                self._messages += len(piece)
                self._inbox.notify(self)

    def take(self, max_batch: int) -> Delivery:
        """Take the oldest delivery, joined with those behind it up to `max_batch` messages."""
        first = self._deliveries.popleft()
        joined = [first, *self._followers(max_batch - len(first.batch))]
        self._messages -= sum(len(delivery.batch) for delivery in joined)
        self._room.set()
        return first if len(joined) == 1 else _join(joined)

    def _followers(self, budget: int) -> Iterator[Delivery]:
        while self._deliveries and len(self._deliveries[0].batch) <= budget:
            follower = self._deliveries.popleft()
            budget -= len(follower.batch)
            yield follower

    async def _wait_for_room(self, messages: int) -> None:
        while self._messages + messages > self.capacity:
            self._room.clear()
            await self._room.wait()

    def _make_room(self, messages: int) -> None:
        while self._messages + messages > self.capacity:
            oldest = self._deliveries.popleft()
            self._messages -= len(oldest.batch)
            self.dropped += len(oldest.batch)
            oldest.settle(Dropped(f"a full wire into {self.port!r} let go of {len(oldest.batch)} messages"))


class Inbox:
    """The input wires of one gear, read in turn, so that a flood on one does not starve another."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self._ready: deque[Wire] = deque()
        self._waiter = asyncio.Event()

    def add(self, wire: Wire) -> None:
        self.wires.append(wire)

    def notify(self, wire: Wire) -> None:
        if wire not in self._ready:
            self._ready.append(wire)
            self._waiter.set()

    async def get(self, max_batch: int = 0) -> Delivery:
        """Wait for a delivery. Cancelling this loses nothing."""
        while not self._ready:
            self._waiter.clear()
            await self._waiter.wait()
        wire = self._ready.popleft()
        delivery = wire.take(max_batch)
        if len(wire):
            self._ready.append(wire)
        return delivery

    def clear(self, error: FluxrigError) -> int:
        """Settle all that waits with `error`, and say how many messages that were."""
        lost = 0
        while self._ready:
            wire = self._ready.popleft()
            while len(wire):
                delivery = wire.take(0)
                lost += len(delivery.batch)
                delivery.settle(error)
        return lost


def _pieces(batch: Batch, size: int) -> Iterable[Batch]:
    if len(batch) <= size:
        return (batch,)
    return (batch[start : start + size] for start in range(0, len(batch), size))


def _join(deliveries: list[Delivery]) -> Delivery:
    """Make one delivery of several for the same port; the parts' holds pass to the whole."""
    batch = tuple(message for delivery in deliveries for message in delivery.batch)
    receipts = tuple(receipt for delivery in deliveries for receipt in delivery.receipts)
    whole = Delivery(batch, deliveries[0].port, receipts, deliveries[0]._in_flight)
    for part in deliveries:
        part.settle()
    return whole
