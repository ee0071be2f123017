"""Wires are bounded in messages, keep order, and lose nothing without saying so."""

from __future__ import annotations

import asyncio

import pytest

from fluxrig.errors import Dropped
from fluxrig.gear import Batch
from fluxrig.message import FluxMsg
from fluxrig.testing import context
from racks.receipt import Receipt
from racks.wire import Inbox, InFlight, Wire

CONTEXT = context()


def batch(*numbers: int) -> Batch:
    return tuple(CONTEXT.message({"seq": number}) for number in numbers)


def seqs(messages: Batch) -> list[int]:
    return [message.data["seq"] for message in messages]


def wire(capacity: int = 4, *, drop: bool = False) -> tuple[Wire, Inbox]:
    inbox = Inbox()
    return Wire(inbox, "in", capacity, "drop_oldest" if drop else "block"), inbox


async def test_a_full_wire_waits_for_room() -> None:
    """A wire of four messages takes no fifth until one is gone."""
    line, inbox = wire(4)
    flight = InFlight()
    await line.put(batch(1, 2, 3), (), flight)
    blocked = asyncio.ensure_future(line.put(batch(4, 5), (), flight))
    await asyncio.sleep(0.01)
    assert not blocked.done()
    assert len(line) == 3
    assert seqs((await inbox.get()).batch) == [1, 2, 3]
    await blocked
    assert seqs((await inbox.get()).batch) == [4, 5]


async def test_a_batch_larger_than_the_wire_goes_in_pieces() -> None:
    """The bound holds for batches of any size: they pass in pieces, in order."""
    line, inbox = wire(2)
    flight = InFlight()
    putting = asyncio.ensure_future(line.put(batch(1, 2, 3, 4, 5), (), flight))
    got: list[int] = []
    while len(got) < 5:
        delivery = await inbox.get()
        assert len(line) <= 2
        got += seqs(delivery.batch)
        delivery.settle()
        await asyncio.sleep(0)
    await putting
    assert got == [1, 2, 3, 4, 5]
    assert flight.deliveries == 0


async def test_drop_oldest_drops_counts_and_tells_the_receipt() -> None:
    """A wire that drops never blocks, keeps the newest, counts the rest, and fails their receipts."""
    line, inbox = wire(3, drop=True)
    flight = InFlight()
    receipts = [Receipt() for _ in range(3)]
    for number, receipt in enumerate(receipts):
        await line.put(batch(number * 2, number * 2 + 1), (receipt,), flight)
        receipt.settle()
    assert seqs((await inbox.get()).batch) == [4, 5]
    assert line.dropped == 4
    with pytest.raises(Dropped):
        await receipts[0]
    assert not receipts[2].done


async def test_waiting_batches_join_only_up_to_the_limit() -> None:
    """Joining takes whole deliveries in order, up to the limit, and settles each receipt with the whole."""
    line, inbox = wire(10)
    flight = InFlight()
    receipts = [Receipt() for _ in range(4)]
    for number, receipt in enumerate(receipts):
        await line.put(batch(number * 2, number * 2 + 1), (receipt,), flight)
        receipt.settle()
    joined = await inbox.get(max_batch=6)
    assert seqs(joined.batch) == [0, 1, 2, 3, 4, 5]
    assert not any(receipt.done for receipt in receipts)
    joined.settle()
    assert [receipt.done for receipt in receipts] == [True, True, True, False]
    (await inbox.get(6)).settle()
    assert flight.deliveries == 0


async def test_the_inbox_takes_turns() -> None:
    """A wire with a thousand messages does not keep another one waiting."""
    inbox = Inbox()
    flood, drip = Wire(inbox, "in", 1000, "block"), Wire(inbox, "in", 1000, "block")
    flight = InFlight()
    for number in range(1000):
        await flood.put(batch(number), (), flight)
    await drip.put(batch(-1), (), flight)
    first_two = [(await inbox.get()).batch[0].data["seq"] for _ in range(2)]
    assert -1 in first_two


async def test_cancelling_a_reader_loses_nothing() -> None:
    """A reader that is cancelled while it waits takes nothing with it."""
    line, inbox = wire()
    reader = asyncio.ensure_future(inbox.get())
    await asyncio.sleep(0)
    reader.cancel()
    await line.put(batch(1), (), InFlight())
    await asyncio.gather(reader, return_exceptions=True)
    assert seqs((await inbox.get()).batch) == [1]


async def test_two_emitters_keep_their_batches_whole() -> None:
    """Pieces of two large batches on one wire do not mix."""
    line, inbox = wire(2)
    flight = InFlight()
    puts = [asyncio.ensure_future(line.put(batch(*range(base, base + 5)), (), flight)) for base in (0, 100)]
    got: list[int] = []
    while len(got) < 10:
        got += seqs((await inbox.get()).batch)
    await asyncio.gather(*puts)
    assert got == [*range(5), *range(100, 105)]


def test_messages_are_shared_not_copied() -> None:
    """Fan-out hands on the same objects."""
    message: FluxMsg = batch(1)[0]
    assert batch(1)[0] is not message
