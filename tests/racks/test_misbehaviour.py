"""Gears that break the contract harm themselves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fluxrig.gear import Batch, Emit, Outputs
from racks import intake, node
from racks.engine import Engine
from racks.record import State
from tests.racks.gears import FILTER, SINK, SOURCE, Applying, Collecting, Counting, Letters


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a gear that does not end a moment, not seconds."""
    monkeypatch.setattr(node, "STOP_S", 0.02)
    monkeypatch.setattr(node, "CLOSE_S", 0.1)
    monkeypatch.setattr(intake, "LET_GO_S", 0.05)


@pytest.fixture
async def letters() -> Letters:
    return Letters()


@pytest.fixture
async def engine(letters: Letters) -> AsyncIterator[Engine]:
    async with Engine(dead_letters=letters) as engine:
        yield engine


async def beside_a_neighbour(engine: Engine, bad: Any, **options: Any) -> tuple[Any, Collecting]:
    """Let a source feed a bad sink and a good one, and wait for the end."""
    source, good = Counting("source", 20), Collecting("good")
    engine.add(source, SOURCE)
    at_fault = engine.add(bad, SINK, **options)
    engine.add(good, SINK)
    engine.connect("source", bad.context.gear, queue=2)
    engine.connect("source", "good", queue=2)
    await engine.start()
    async with asyncio.timeout(10):
        await engine.finished()
    return at_fault, good


def cancels_itself(batch: Batch) -> Any:
    async def work() -> Outputs:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return Outputs()

    return work()


class PanicError(BaseException):
    """As drivers in other languages raise."""


def panics(batch: Batch) -> Outputs:
    raise PanicError("driver")


def raises_a_group(batch: Batch) -> Outputs:
    raise BaseExceptionGroup("several", [PanicError("driver"), ValueError("x")])


@pytest.mark.parametrize("step", [cancels_itself, panics, raises_a_group])
async def test_whatever_process_raises_its_messages_are_kept(
    engine: Engine, letters: Letters, step: Callable[[Batch], Any]
) -> None:
    """Errors that are no Exception, and a gear that cancels its caller, cost their own messages alone."""
    _, good = await beside_a_neighbour(engine, Applying("bad", step))
    assert len(good.taken) == len(letters.kept) == 20


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, "NoneType"), ([], "list"), (Outputs([1]), "put a int out of 'out'")],  # type: ignore[list-item]
)
async def test_process_must_give_outputs_of_messages(
    engine: Engine, letters: Letters, answer: Any, said: str
) -> None:
    """A gear that answers with anything else stops for good, told by name; what reached it is kept."""
    source, good = Counting("source", 20), Collecting("good")
    engine.add(source, SOURCE)
    at_fault = engine.add(Applying("bad", lambda batch: answer), FILTER)
    engine.add(good, SINK)
    engine.connect("source", "bad", queue=2)
    engine.connect("source", "good", queue=2)
    engine.connect("bad", "good", queue=2)
    await engine.start()
    async with asyncio.timeout(10):
        await engine.finished()
    assert at_fault.state is State.FAILED
    assert said in at_fault.last_error
    assert len(good.taken) == len(letters.kept) == 20


async def test_only_messages_can_be_emitted(engine: Engine) -> None:
    """A source that emits something else stops for good; the sink it is wired to goes on."""

    class Junk(Counting):
        async def run(self, emit: Emit) -> None:
            await emit("out", [1, 2, 3])  # type: ignore[list-item]

    good = Collecting("good")
    junk = engine.add(Junk("junk"), SOURCE)
    engine.add(Counting("source", 20), SOURCE)
    engine.add(good, SINK)
    engine.connect("junk", "good")
    engine.connect("source", "good")
    await engine.start()
    async with asyncio.timeout(10):
        await engine.finished()
    assert junk.state is State.FAILED
    assert len(good.taken) == 20


async def test_exit_in_close_is_no_exit(engine: Engine) -> None:
    """sys.exit in close is logged, and ends nothing."""

    class Leaving(Collecting):
        async def close(self) -> None:
            raise SystemExit(7)

    _, good = await beside_a_neighbour(engine, Leaving("bad"))
    await engine.stop()
    assert len(good.taken) == 20


class Swallow:
    """Work that does not end when it is cancelled, but when it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def __call__(self) -> Outputs:
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        return Outputs()


@pytest.fixture
async def swallow() -> AsyncIterator[Swallow]:
    work = Swallow()
    yield work
    work.let_go.set()
    await asyncio.sleep(0.01)


async def test_a_batch_that_is_not_let_go_of_is_kept_all_the_same(
    engine: Engine, letters: Letters, swallow: Swallow
) -> None:
    """A process that swallows its cancellation is left behind; its neighbour and its messages are not."""
    at_fault, good = await beside_a_neighbour(
        engine, Applying("bad", lambda batch: swallow()), timeout_s=0.05
    )
    assert len(good.taken) == len(letters.kept) == 20
    assert at_fault.state is State.FAILED
    assert "let go" in at_fault.last_error


async def test_a_source_that_swallows_its_cancellation_does_not_keep_the_engine_up(
    engine: Engine, swallow: Swallow
) -> None:
    """Draining gives up at its limit, and stopping leaves the task behind."""

    class Stubborn(Counting):
        async def run(self, emit: Emit) -> None:
            await swallow()

    at_fault = engine.add(Stubborn("stubborn"), SOURCE)
    await engine.start()
    while at_fault.state is not State.RUNNING:  # noqa: ASYNC110 - a state is no event
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await engine.drain(0.1)
        await engine.stop()
    left = [task for task in asyncio.all_tasks() if task.get_name() == "stubborn.run"]
    assert len(left) == 1
