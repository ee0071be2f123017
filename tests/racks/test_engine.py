"""The engine keeps its promises whatever its gears do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from fluxrig.errors import BadMessage, BusError, Disconnected, EndOfStream, Fatal, NotReady, Stopped
from fluxrig.gear import ERROR_PORT, Batch, Emit, Outputs
from fluxrig.message import ERROR
from racks.backoff import Backoff
from racks.engine import Engine
from racks.record import State
from tests.racks.gears import FILTER, SINK, SOURCE, Applying, Collecting, Counting, Letters, manifest, numbers


class Quick(Backoff):
    """A back-off that does not wait."""

    def next_s(self) -> float:
        self.failures += 1
        return 0.0


@pytest.fixture
async def letters() -> Letters:
    return Letters()


@pytest.fixture
async def engine(letters: Letters) -> AsyncIterator[Engine]:
    async with Engine(dead_letters=letters) as engine:
        yield engine
    assert asyncio.all_tasks() == {asyncio.current_task()}, "the engine leaks tasks"


async def finish(engine: Engine, limit_s: float = 10.0) -> None:
    await engine.start()
    async with asyncio.timeout(limit_s):
        await engine.finished()


async def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is not always an event
            await asyncio.sleep(0.001)


async def test_a_graph_carries_every_message_in_order(engine: Engine) -> None:
    """Source to filter to sink: all that the filter keeps arrives, in order, and every receipt settles."""
    source = Counting("source", 1000, batch=7)
    sink = Collecting("sink")
    engine.add(source, SOURCE)
    engine.add(Applying("even", lambda batch: Outputs(m for m in batch if m.data["seq"] % 2 == 0)), FILTER)
    engine.add(sink, SINK)
    engine.connect("source", "even", queue=10)
    engine.connect("even", "sink", queue=10)
    await finish(engine)
    assert numbers(sink.taken) == list(range(0, 1000, 2))
    for receipt in source.receipts:
        await receipt


async def test_fan_out_settles_only_when_every_branch_has(engine: Engine) -> None:
    """With two sinks, one of them shut, no receipt settles; once it opens, all do."""
    gate = asyncio.Event()
    source, fast, slow = Counting("source", 3), Collecting("fast"), Collecting("slow", gate)
    engine.add(source, SOURCE)
    engine.add(fast, SINK)
    engine.add(slow, SINK)
    engine.connect("source", "fast")
    engine.connect("source", "slow")
    await engine.start()
    await until(lambda: len(fast.taken) == 3)
    first = asyncio.ensure_future(source.receipts[0])  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert not first.done()
    gate.set()
    await first
    await engine.finished()
    assert numbers(slow.taken) == [0, 1, 2]


async def test_fan_in_keeps_each_source_in_order(engine: Engine) -> None:
    """Two sources into one sink: nothing is lost and each keeps its own order."""
    sink = Collecting("sink")
    engine.add(sink, SINK)
    for name in ("a", "b"):
        engine.add(Counting(name, 200, batch=3), SOURCE)
        engine.connect(name, "sink", queue=5)
    await finish(engine)
    for name in ("a", "b"):
        assert numbers([m for m in sink.taken if m.src == f"rack/{name}"]) == list(range(200))


async def test_filtered_on_purpose_is_settled(engine: Engine) -> None:
    """A message that a gear drops on purpose settles its receipt."""
    source = Counting("source", 5)
    engine.add(source, SOURCE)
    engine.add(Applying("nothing", lambda batch: Outputs()), FILTER)
    engine.connect("source", "nothing")
    await finish(engine)
    for receipt in source.receipts:
        await receipt


async def test_a_receipt_waits_for_what_was_derived(engine: Engine) -> None:
    """What a gear derives holds the receipt of what it was derived from."""
    gate = asyncio.Event()
    source, sink = Counting("source", 1), Collecting("sink", gate)
    engine.add(source, SOURCE)
    engine.add(Applying("twice", lambda batch: Outputs([*batch, *batch])), FILTER)
    engine.add(sink, SINK)
    engine.connect("source", "twice")
    engine.connect("twice", "sink", queue=1)
    await engine.start()
    await until(lambda: source.receipts)
    waiting = asyncio.ensure_future(source.receipts[0])  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert not waiting.done()
    gate.set()
    await waiting


@pytest.mark.parametrize("error", [BadMessage("no number"), ValueError("boom"), asyncio.CancelledError()])
async def test_one_bad_message_goes_to_the_dead_letters_and_the_rest_go_on(
    engine: Engine, letters: Letters, error: BaseException
) -> None:
    """Whatever a gear raises over one message, that one is kept with the reason, and the others pass."""

    def stumble(batch: Batch) -> Outputs:
        if any(message.data["seq"] == 3 for message in batch):
            raise error
        return Outputs(batch)

    source, sink = Counting("source", 8, batch=8), Collecting("sink")
    engine.add(source, SOURCE)
    engine.add(Applying("picky", stumble), FILTER)
    engine.add(sink, SINK)
    engine.connect("source", "picky")
    engine.connect("picky", "sink")
    await finish(engine)
    assert numbers(sink.taken) == [0, 1, 2, 4, 5, 6, 7]
    ((gear, letter),) = letters.kept
    assert gear == "picky"
    assert letter.schema == ERROR
    assert type(error).__name__ in letter.data["reason"] or str(error) in letter.data["reason"]
    for receipt in source.receipts:
        await receipt


async def test_a_wired_error_port_takes_rejections(engine: Engine, letters: Letters) -> None:
    """A rejection goes out of `error` when it is wired, and holds the receipt of its message."""

    def refuse(batch: Batch) -> Outputs:
        raise BadMessage("not today")

    source, sink = Counting("source", 2), Collecting("sink")
    engine.add(source, SOURCE)
    engine.add(Applying("picky", refuse), FILTER)
    engine.add(sink, SINK)
    engine.connect("source", "picky")
    engine.connect("picky", "sink", output=ERROR_PORT)
    await finish(engine)
    assert [message.data["reason"] for message in sink.taken] == ["not today"] * 2
    assert not letters.kept


async def test_without_safe_dead_letters_the_receipt_says_so(engine: Engine, letters: Letters) -> None:
    """A rejected message that could not be kept anywhere fails its receipt."""
    letters.error = BusError("the disk is full")

    def refuse(batch: Batch) -> Outputs:
        raise BadMessage("not today")

    source = Counting("source", 1)
    engine.add(source, SOURCE)
    engine.add(Applying("picky", refuse), FILTER)
    engine.connect("source", "picky")
    await finish(engine)
    with pytest.raises(BusError, match="disk is full"):
        await source.receipts[0]


@pytest.mark.parametrize("error", [NotReady("not yet"), Disconnected("gone")])
async def test_a_batch_is_offered_again_after_a_lost_connection(engine: Engine, error: Exception) -> None:
    """A sink that loses its connection is opened again and gets the same batch: none lost, none twice."""
    failures = iter([error, error, error])
    taken: list[int] = []

    def flaky(batch: Batch) -> Outputs:
        if failure := next(failures, None):
            raise failure
        taken.extend(numbers(list(batch)))
        return Outputs()

    source, sink = Counting("source", 20), Applying("flaky", flaky)
    engine.add(source, SOURCE)
    engine.add(sink, SINK, backoff=Quick())
    engine.connect("source", "flaky", queue=4)
    await finish(engine)
    assert taken == list(range(20))
    assert sink.opened == 4
    for receipt in source.receipts:
        await receipt


async def test_a_stumble_halfway_does_not_repeat_what_was_taken(engine: Engine) -> None:
    """Bad message, then a lost connection in the same batch: what was already taken is not offered again."""
    gone = iter([Disconnected("gone")])
    taken: list[int] = []

    def flaky(batch: Batch) -> Outputs:
        if len(batch) > 1:
            raise BadMessage("one of these")
        (number,) = numbers(list(batch))
        if number == 2 and (failure := next(gone, None)):
            raise failure
        taken.append(number)
        return Outputs()

    engine.add(Counting("source", 4, batch=4), SOURCE)
    engine.add(Applying("flaky", flaky), SINK, backoff=Quick())
    engine.connect("source", "flaky")
    await finish(engine)
    assert taken == [0, 1, 2, 3]


async def test_a_gear_that_hangs_is_given_up_and_the_others_go_on(engine: Engine, letters: Letters) -> None:
    """A process call that never returns ends at its time-out; its batch is kept, its neighbour served."""

    async def hang(batch: Batch) -> Outputs:
        await asyncio.Event().wait()
        return Outputs()

    source, sink, hanging = Counting("source", 4), Collecting("sink"), Applying("hanging", hang)
    engine.add(source, SOURCE)
    engine.add(hanging, SINK, timeout_s=0.02, backoff=Quick())
    engine.add(sink, SINK)
    engine.connect("source", "hanging", queue=1)
    engine.connect("source", "sink")
    await finish(engine)
    assert numbers(sink.taken) == [0, 1, 2, 3]
    assert [letter.data["reason"] for _, letter in letters.kept] == ["hanging took longer than 0.02 s"] * 4
    await until(lambda: hanging.opened == 5)


async def test_a_gear_that_fails_for_good_leaves_the_others_running(engine: Engine, letters: Letters) -> None:
    """After Fatal a gear is closed, what reaches it is kept, and its neighbour gets everything."""

    def die(batch: Batch) -> Outputs:
        raise Fatal("no such table")

    source, sink, dying = Counting("source", 50), Collecting("sink"), Applying("dying", die)
    engine.add(source, SOURCE)
    node = engine.add(dying, SINK)
    engine.add(sink, SINK)
    engine.connect("source", "dying", queue=2)
    engine.connect("source", "sink", queue=2)
    await finish(engine)
    assert numbers(sink.taken) == list(range(50))
    assert len(letters.kept) == 50
    assert node.state is State.FAILED
    assert engine.failed == [node]
    assert dying.closed


async def test_a_source_that_raises_is_run_again(engine: Engine) -> None:
    """An unexpected error in run closes the gear, opens it again and lets it go on."""

    class Stumbling(Counting):
        runs = 0

        async def run(self, emit: Emit) -> None:
            self.runs += 1
            if self.runs < 3:
                raise ValueError("boom")
            await super().run(emit)

    source, sink = Stumbling("source", 5), Collecting("sink")
    node = engine.add(source, SOURCE, backoff=Quick())
    engine.add(sink, SINK)
    engine.connect("source", "sink")
    await finish(engine)
    assert numbers(sink.taken) == list(range(5))
    assert node.counters.errors == 2
    assert node.last_error == "ValueError: boom"


@pytest.mark.parametrize("ending", [None, EndOfStream("done")])
async def test_returning_and_end_of_stream_are_the_same(engine: Engine, ending: Exception | None) -> None:
    """A source may return or raise EndOfStream: either way it is at its end, and is not run again."""

    class Ending(Counting):
        runs = 0

        async def run(self, emit: Emit) -> None:
            self.runs += 1
            await super().run(emit)
            if ending:
                raise ending

    source = Ending("source", 2)
    node = engine.add(source, SOURCE)
    await finish(engine)
    await until(lambda: node.state is State.ENDED)
    assert source.runs == 1


async def test_a_source_that_exits_the_process_only_ends_itself(engine: Engine) -> None:
    """sys.exit in a gear stops that gear, not the Rack."""

    class Leaving(Counting):
        async def run(self, emit: Emit) -> None:
            raise SystemExit(3)

    sink = Collecting("sink")
    leaving = engine.add(Leaving("leaving"), SOURCE)
    engine.add(Counting("source", 5), SOURCE)
    engine.add(sink, SINK)
    engine.connect("source", "sink")
    await finish(engine)
    await until(lambda: leaving.state is State.FAILED)
    assert len(sink.taken) == 5


async def test_a_flood_does_not_starve_the_others(engine: Engine) -> None:
    """A source that never waits, into a wire that drops, leaves the rest of the graph its turn."""
    sink, drain = Collecting("sink"), Collecting("drain")
    engine.add(Counting("flood", None, batch=50), SOURCE)
    engine.add(drain, SINK)
    engine.add(Counting("source", 300), SOURCE)
    engine.add(sink, SINK)
    engine.connect("flood", "drain", queue=50, when_full="drop_oldest")
    engine.connect("source", "sink", queue=1)
    await engine.start()
    await until(lambda: len(sink.taken) == 300)
    assert drain.taken


async def test_draining_settles_all_that_was_emitted(engine: Engine) -> None:
    """On drain an endless source ends; all it had emitted reaches the sink and every receipt settles."""
    source, sink = Counting("source"), Collecting("sink")
    engine.add(source, SOURCE)
    engine.add(Applying("same", Outputs), FILTER)
    engine.add(sink, SINK)
    engine.connect("source", "same", queue=100)
    engine.connect("same", "sink", queue=100)
    await engine.start()
    await until(lambda: len(sink.taken) > 500)
    assert await engine.drain(10.0) == 0
    assert numbers(sink.taken) == list(range(len(sink.taken)))
    assert len(sink.taken) >= source.sent
    for receipt in source.receipts:
        await receipt


async def test_draining_ends_at_its_limit(engine: Engine) -> None:
    """A sink that takes nothing can't hold up a drain; what was left is said and fails its receipt."""
    source, sink = Counting("source"), Collecting("sink", asyncio.Event())
    engine.add(source, SOURCE)
    engine.add(sink, SINK)
    engine.connect("source", "sink", queue=5)
    await engine.start()
    await until(lambda: source.sent == 6)
    assert await engine.drain(0.05) > 0
    await engine.stop()
    with pytest.raises(Stopped):
        await source.receipts[0]
    assert engine.unsettled == 0


async def test_a_source_in_back_off_does_not_hold_up_a_drain(engine: Engine) -> None:
    """A source that waits to be opened again ends at once."""

    class Never(Counting):
        async def open(self) -> None:
            raise NotReady("never")

    node = engine.add(Never("never"), SOURCE)
    await engine.start()
    await until(lambda: node.state is State.WAITING)
    async with asyncio.timeout(1):
        assert await engine.drain(5.0) == 0


async def test_a_half_taken_batch_is_finished_before_its_gear_is_reopened(engine: Engine) -> None:
    """When run loses its connection while process is at work, the batch is taken once, not twice."""
    taken: list[int] = []
    working, release = asyncio.Event(), asyncio.Event()

    class Both(Counting):
        runs = 0

        async def run(self, emit: Emit) -> None:
            self.runs += 1
            if self.runs == 1:
                await working.wait()
                raise Disconnected("gone")
            await asyncio.Event().wait()

        async def process(self, batch: Batch, port: str) -> Outputs:
            working.set()
            await release.wait()
            taken.extend(numbers(list(batch)))
            return Outputs()

    both = Both("both")
    engine.add(both, manifest(source=True, inputs=("in",)), backoff=Quick())
    engine.add(Counting("source", 1), SOURCE)
    engine.connect("source", "both")
    await engine.start()
    await working.wait()
    await asyncio.sleep(0.01)
    release.set()
    await until(lambda: both.runs == 2)
    assert taken == [0]


async def test_a_port_that_the_manifest_does_not_name_stops_the_gear(engine: Engine) -> None:
    """A gear that emits where its manifest has no port fails for good and says which ports there are."""
    node = engine.add(Counting("source", 1, port="sideways"), SOURCE)
    await engine.start()
    await until(lambda: node.state is State.FAILED)
    assert "sideways" in node.last_error
    assert "out, error" in node.last_error


async def test_stopping_in_the_middle_leaks_nothing(engine: Engine) -> None:
    """Cancelled at any moment, the engine leaves no task and no open receipt."""
    source, sink = Counting("source", None, batch=3), Collecting("sink")
    engine.add(source, SOURCE)
    engine.add(sink, SINK)
    engine.connect("source", "sink", queue=10)
    await engine.start()
    await until(lambda: len(sink.taken) > 20)
    await engine.stop()
    assert engine.unsettled == 0
    for receipt in source.receipts:
        with contextlib.suppress(Stopped):
            await asyncio.wait_for(receipt, 1)  # type: ignore[arg-type]
