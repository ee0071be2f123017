"""The simulate gear against a hand-made engine."""

import asyncio

import pytest

from fluxrig.errors import Fatal, FluxrigError
from fluxrig.gear import Context
from gears.simulate.config import Config
from gears.simulate.gear import Simulate
from gears.simulate.journal import Settled, read_journal


class StepClock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.ns = 1_800_000_000_000_000_000

    def now_ns(self):
        return self.ns

    def monotonic_ns(self):
        return self.ns

    async def sleep(self, seconds):
        self.ns += max(0, round(seconds * 1e9))
        await asyncio.sleep(0)


class Taker:
    """An `emit` that keeps batches and hands out receipts that the test settles."""

    def __init__(self, settle=True):
        self.batches = []
        self.receipts = []
        self.settle = settle

    async def __call__(self, port, batch):
        receipt = asyncio.get_running_loop().create_future()
        if self.settle:
            receipt.set_result(None)
        self.batches.append((port, list(batch)))
        self.receipts.append(receipt)
        return receipt

    @property
    def messages(self):
        return [message for _, batch in self.batches for message in batch]


def make(**values):
    context = Context(rack="r", gear="g", uns="acme/line", clock=StepClock())
    return Simulate(Config.model_validate(values), context)


async def play(gear, emit):
    await gear.open()
    try:
        await gear.run(emit)
    finally:
        await gear.close()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a condition of the gear has no event to wait for
            await asyncio.sleep(0)


async def test_numbers_are_whole_and_in_order():
    """`count` messages come, numbered from 0 without a gap, the last batch cut to fit, all of one run."""
    taker = Taker()
    await play(make(rate="max", batch=4, count=10), taker)
    assert [message.data["seq"] for message in taker.messages] == list(range(10))
    assert [len(batch) for _, batch in taker.batches] == [4, 4, 2]
    assert len({message.data["run"] for message in taker.messages}) == 1
    assert len({message.id for message in taker.messages}) == 10


async def test_the_rate_does_not_drift():
    """A message is due at start + seq / rate, however many came before."""
    taker, gear = Taker(), make(rate=300, batch=3, count=3000)
    start = gear.context.clock.now_ns()
    await play(gear, taker)
    late_ns = [message.ts - start - message.data["seq"] // 3 * 10_000_000 for message in taker.messages]
    assert max(map(abs, late_ns)) <= 1000


async def test_only_settled_ranges_are_journaled(tmp_path):
    """A range is claimed when its receipt resolved, and not before."""
    path, taker = tmp_path / "journal", Taker(settle=False)
    running = asyncio.create_task(play(make(rate="max", batch=5, count=10, journal=path), taker))
    await until(lambda: len(taker.receipts) == 2)
    assert list(read_journal(path)) == []
    taker.receipts[0].set_result(None)
    run = taker.messages[0].data["run"]
    await until(lambda: list(read_journal(path)) == [Settled(run, 0, 4)])
    taker.receipts[1].set_result(None)
    await running
    assert list(read_journal(path)) == [Settled(run, 0, 4), Settled(run, 5, 9)]


async def test_a_failed_receipt_is_counted_and_never_claimed(tmp_path):
    """What failed is not in the journal; what follows is."""
    path, taker, gear = (
        tmp_path / "journal",
        Taker(settle=False),
        make(rate="max", count=2, journal=tmp_path / "journal"),
    )
    running = asyncio.create_task(play(gear, taker))
    await until(lambda: len(taker.receipts) == 2)
    taker.receipts[0].set_exception(FluxrigError("lost"))
    taker.receipts[1].set_result(None)
    await running
    assert [settled.first for settled in read_journal(path)] == [1]
    assert gear.failed == 1


async def test_the_window_bounds_what_is_unsettled():
    """No more than `window` batches (and the two in hand) are on their way unsettled."""
    taker = Taker(settle=False)
    running = asyncio.create_task(play(make(rate="max", window=3), taker))
    for _ in range(200):
        await asyncio.sleep(0)
    assert 3 <= len(taker.receipts) <= 5
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_cancelling_leaks_no_task():
    """After a cancelled run only the test's own task is left."""
    running = asyncio.create_task(play(make(), Taker(settle=False)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_journal_that_cannot_be_opened_is_fatal(tmp_path):
    """The gear says which file, instead of running without a journal."""
    with pytest.raises(Fatal, match="can't write the journal"):
        await make(journal=tmp_path / "missing" / "journal").open()


async def test_a_full_disk_stops_the_source(monkeypatch):
    """Once the journal fails the source stops with a clear error, and does not hang on its window."""
    gear = make(rate="max", journal="/dev/full", window=2)
    with pytest.raises(Fatal, match="can't write the journal"):
        await play(gear, Taker())
