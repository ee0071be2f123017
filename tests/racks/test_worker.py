"""A gear in a worker keeps the promises of a gear in the Rack, and its death is its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluxrig.errors import Disconnected, Fatal, FluxrigError, NotReady, Stopped
from fluxrig.gear import IN, OUT, Context, Gear, GearConfig, Manifest, Outputs
from fluxrig.message import ERROR, FluxMsg
from fluxrig.testing import Workbench, check_gear, context
from gears.deadband import config as deadband
from gears.simulate import config as simulate
from gears.stdout import config as stdout
from racks.backoff import Backoff
from racks.engine import Engine
from racks.record import State
from racks.worker.isolated import Isolated
from tests.processes import alive
from tests.racks import worker_gears as gears
from tests.racks.gears import FILTER, SINK, SOURCE, Applying, Collecting, Counting, Letters, numbers
from tests.racks.worker_gears import isolated


class Quick(Backoff):
    """A back-off that does not wait."""

    def next_s(self) -> float:
        self.failures += 1
        return 0.0


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def workers() -> set[int]:
    """Give the workers of this process."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, stat = (place / "cmdline").read_bytes(), (place / "stat").read_text()
        except OSError:
            continue
        if b"racks.worker" in command and stat.rpartition(")")[2].split()[1] == str(os.getpid()):
            found.add(int(place.name))
    return found


@pytest.fixture
async def letters() -> Letters:
    return Letters()


@pytest.fixture
async def engine(letters: Letters) -> AsyncIterator[Engine]:
    before = open_files()
    async with Engine(dead_letters=letters) as engine:
        yield engine
    assert not workers(), "the engine leaves workers behind"
    assert open_files() <= before, "the engine leaves files open"
    assert asyncio.all_tasks() == {asyncio.current_task()}, "the engine leaks tasks"


@pytest.fixture
async def made() -> AsyncIterator[Callable[[Isolated], Isolated]]:
    kept: list[Isolated] = []

    def keep(gear: Isolated) -> Isolated:
        kept.append(gear)
        return gear

    yield keep
    for gear in kept:
        await gear.dismiss()
    assert not workers()


async def finish(engine: Engine, limit_s: float = 20.0) -> None:
    await engine.start()
    async with asyncio.timeout(limit_s):
        await engine.finished()


async def until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is not always an event
            await asyncio.sleep(0.002)


def line(engine: Engine, worker: Isolated, kind: Manifest, count: int, batch: int) -> Collecting:
    """Wire a source, the gear in its worker and a sink."""
    sink = Collecting("sink")
    engine.add(Counting("source", count, batch=batch), SOURCE)
    engine.add(worker, kind, backoff=Quick())
    engine.add(sink, SINK)
    engine.connect("source", worker.context.gear)
    engine.connect(worker.context.gear, "sink")
    return sink


# --- conformance: what the kit asks of a class, each with the methods that its manifest speaks of -----------


class OnlySource(Isolated):
    process = Gear.process


class OnlyInput(Isolated):
    run = Gear.run


HERE = "tests.racks.test_worker"


@pytest.mark.parametrize(
    ("kind", "config", "of"),
    [
        (simulate.MANIFEST, simulate.Config(count=3, rate="max"), OnlySource),
        (deadband.MANIFEST, deadband.Config(), OnlyInput),
        (stdout.MANIFEST, stdout.Config(), OnlyInput),
    ],
    ids=["simulate", "deadband", "stdout"],
)
async def test_conforms(
    made: Callable[[Isolated], Isolated],
    kind: Manifest,
    config: GearConfig,
    of: type[Isolated],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Our gears keep the gear contract in a worker, too."""
    batch = tuple(context().message({"pressure": float(n)}) for n in range(3))
    seen_as = replace(kind, gear=f"{HERE}:{of.__name__}")
    await check_gear(lambda it: made(of(kind, config, it)), seen_as, [batch])
    printed = capfd.readouterr().out.count("pressure")
    assert printed == (3 if kind is stdout.MANIFEST else 0)


# --- the engine's promises ----------------------------------------------------------------------------------


async def test_carries_every_message_in_order_and_settles_all(engine: Engine, tmp_path: Path) -> None:
    """From worker to worker to the Rack: all arrives once and in order, and every receipt crosses back."""
    settled = tmp_path / "settled"
    sink = Collecting("sink")
    source = isolated(gears.COUNTING, context("source"), total=2000, batch=50, file=settled)
    engine.add(source, gears.COUNTING)
    engine.add(isolated(gears.PASSING, context("pass")), gears.PASSING)
    engine.add(sink, SINK)
    engine.connect("source", "pass", queue=200)
    engine.connect("pass", "sink", queue=100)
    await finish(engine)
    assert numbers(sink.taken) == list(range(2000))
    assert sorted(map(int, settled.read_text().split())) == list(range(0, 2000, 50))
    (pid,) = {message.data["pid"] for message in sink.taken}
    assert pid != os.getpid()
    assert engine.nodes["pass"].gear.max_batch == 100


async def test_a_batch_of_many_megabytes_crosses(engine: Engine) -> None:
    """A batch larger than any frame crosses whole, both ways."""
    text = "x" * 900_000
    big = tuple(context("source").message({"seq": n, "text": text}) for n in range(100))
    gear = isolated(gears.PASSING, context("pass"))
    await gear.open()
    outputs = await gear.process(big, IN)
    assert [message.id for message in outputs.ports[OUT]] == [message.id for message in big]
    assert all(message.data["text"] == text for message in outputs.ports[OUT])
    await gear.dismiss()


async def test_a_receipt_that_fails_says_why(engine: Engine, tmp_path: Path) -> None:
    """A source in a worker learns of a failed receipt with its kind and text, as one in the Rack does."""
    settled = tmp_path / "settled"
    letters_full = FluxrigError("no room for dead letters")
    source = isolated(gears.COUNTING, context("source"), total=1, file=settled)
    engine._dead_letters = Letters(error=letters_full)
    engine.add(source, gears.COUNTING)
    engine.add(Applying("no", _reject), FILTER)
    engine.connect("source", "no")
    await finish(engine)
    assert settled.read_text() == "0 FluxrigError: no room for dead letters\n"


def _reject(batch: tuple[FluxMsg, ...]) -> Outputs:
    outputs = Outputs()
    for message in batch:
        outputs.reject(message, "no")
    return outputs


@pytest.mark.parametrize("error", ["BadMessage", "ValueError", "SystemExit", "CancelledError"])
async def test_one_bad_message_goes_to_the_dead_letters_and_the_rest_go_on(
    engine: Engine, letters: Letters, error: str
) -> None:
    """Whatever the gear raises over one message, that one is kept with the reason, and the others pass."""
    sink = line(engine, isolated(gears.RAISING, context("g"), error=error, text="why"), gears.RAISING, 8, 8)
    await finish(engine)
    assert numbers(sink.taken) == [0, 1, 2, 4, 5, 6, 7]
    ((_, letter),) = letters.kept
    assert letter.schema == ERROR
    expected = {"BadMessage": "why", "ValueError": "ValueError: why", "SystemExit": "SystemExit: 3"}
    assert letter.data["reason"] == expected.get(error, error)


@pytest.mark.parametrize("error", ["NotReady", "Disconnected"])
async def test_not_ready_is_offered_again_and_the_gear_remembers(
    engine: Engine, letters: Letters, error: str, tmp_path: Path
) -> None:
    """Closing and opening again keeps the worker, so what the gear remembers outlasts a reconnect."""
    once = tmp_path / "once"
    gear = isolated(gears.RAISING, context("g"), error=error, text="later", file=once)
    sink = line(engine, gear, gears.RAISING, 5, 5)
    await engine.start()
    await until(lambda: len(sink.taken) == 5)
    node = engine.nodes["g"]
    assert (node.counters.opened, node.last_error, len(workers())) == (2, "later", 1)
    assert not letters.kept


async def test_fatal_stops_the_gear_and_its_worker(engine: Engine, letters: Letters) -> None:
    """After Fatal the worker is gone and what still comes is rejected."""
    gear = isolated(gears.RAISING, context("g"), error="Fatal", text="broken for good")
    sink = line(engine, gear, gears.RAISING, 8, 1)
    await finish(engine)
    assert engine.nodes["g"].state is State.FAILED
    assert numbers(sink.taken) == [0, 1, 2]
    assert len(letters.kept) == 5
    assert "broken for good" in letters.kept[0][1].data["reason"]
    assert not workers()


@pytest.mark.parametrize(
    ("error", "state"), [("EndOfStream", State.ENDED), ("Fatal", State.FAILED), ("SystemExit", State.FAILED)]
)
async def test_what_ends_a_source_ends_it(engine: Engine, error: str, state: State) -> None:
    """The end of a source in a worker is the end of the source, after what it emitted."""
    sink = Collecting("sink")
    engine.add(isolated(gears.ENDING, context("source"), error=error, text="done"), gears.ENDING)
    engine.add(sink, SINK)
    engine.connect("source", "sink")
    await finish(engine)
    await until(lambda: engine.nodes["source"].state is state)
    assert numbers(sink.taken) == [0]


async def test_rejections_and_ports_come_back(made: Callable[[Isolated], Isolated]) -> None:
    """Rejected messages are the very ones that went in, or those the gear made; ports stay apart."""
    gear = made(isolated(gears.SORTING, context("g")))
    await gear.open()
    batch = tuple(context("source").message({"seq": n}) for n in range(5))
    outputs = await gear.process(batch, IN)
    assert numbers(outputs.ports["even"]) == [0, 2, 4]
    assert outputs.ports[OUT] == []
    assert [
        message is expected for (message, _), expected in zip(outputs.rejected, batch[1::2], strict=False)
    ]
    assert [(m.data["seq"], why) for m, why in outputs.rejected] == [
        (1, "1 is odd \\udc80"),
        (3, "3 is odd \\udc80"),
        (-1, "made here"),
    ]


@pytest.mark.parametrize("how", ["politely", "blocking"])
async def test_a_gear_that_hangs_loses_its_batch_alone(
    engine: Engine, letters: Letters, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its time-out a call is cancelled; a worker that does not even notice is killed."""
    monkeypatch.setattr("racks.worker.link.SILENCE_S", 0.2)
    sink = Collecting("sink")
    engine.add(Counting("source", 6), SOURCE)
    gear = isolated(gears.HANGING, context("g"), text=how)
    engine.add(gear, gears.HANGING, timeout_s=0.5, backoff=Quick())
    engine.add(sink, SINK)
    engine.connect("source", "g")
    engine.connect("g", "sink")
    await engine.start()
    await until(lambda: gear.pid)
    first = gear.pid
    await until(lambda: len(sink.taken) == 5)
    assert numbers(sink.taken) == [0, 1, 2, 4, 5]
    assert (gear.pid == first) is (how == "politely")
    ((_, letter),) = letters.kept
    assert "longer than 0.5 s" in letter.data["reason"]


async def test_a_message_without_an_encoding_does_not_stop_the_others(
    engine: Engine, letters: Letters
) -> None:
    """On the way in it is rejected alone; on the way out, one that shows it goes in its place."""
    sink = Collecting("sink")
    engine.add(isolated(gears.UNSAYABLE, context("source")), gears.UNSAYABLE)
    engine.add(sink, SINK)
    engine.connect("source", "sink")
    await finish(engine)
    first, shown, last = sink.taken
    assert (first.data["seq"], last.data["seq"]) == (0, 2)
    assert shown.schema == ERROR
    assert "no encoding" in shown.data["reason"]
    assert b"{1, 2}" in shown.raw


async def test_what_has_no_encoding_does_not_go_in(engine: Engine, letters: Letters) -> None:
    """A message from the Rack that can't cross is a bad message, and those around it pass."""
    odd = context("source").message({"seq": object()})
    good = [context("source").message({"seq": n}) for n in range(2)]
    sink = line(engine, isolated(gears.PASSING, context("g")), gears.PASSING, 1, 1)
    engine.add(Applying("odd", lambda batch: Outputs([good[0], odd, good[1]])), FILTER)
    engine.connect("source", "odd")
    engine.connect("odd", "g")
    await finish(engine)
    assert len(sink.taken) == 3
    ((gear, letter),) = letters.kept
    assert gear == "g"
    assert "no encoding" in letter.data["reason"]


async def test_a_gear_that_cannot_be_built_stops_for_good(engine: Engine) -> None:
    """A gear whose class fails does not take the Rack with it; the reason is told."""
    engine.add(isolated(gears.IMPOSSIBLE, context("g")), gears.IMPOSSIBLE)
    await finish(engine)
    await until(lambda: engine.nodes["g"].state is State.FAILED)
    assert "RuntimeError: no driver for this machine" in engine.nodes["g"].last_error


async def test_a_kind_that_is_not_there_stops_for_good(engine: Engine) -> None:
    """So does a gear whose module is missing."""
    missing = replace(gears.IMPOSSIBLE, gear="tests.racks.no_such_module:Gear")
    engine.add(Isolated(missing, gears.Config(), context("g")), missing)
    await finish(engine)
    await until(lambda: engine.nodes["g"].state is State.FAILED)
    assert "no_such_module" in engine.nodes["g"].last_error


async def test_a_drain_cancels_the_source_and_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    """At a drain `run` is cancelled in the worker, all that it emitted arrives, and the gear is closed."""
    file = tmp_path / "ends"
    sink = Collecting("sink")
    engine.add(isolated(gears.CLEANING, context("source"), file=file), gears.CLEANING)
    engine.add(sink, SINK)
    engine.connect("source", "sink", queue=3)
    await engine.start()
    await until(lambda: len(sink.taken) > 20)
    assert await engine.drain(10.0) == 0
    await until(lambda: engine.nodes["source"].state is State.ENDED)
    assert numbers(sink.taken) == list(range(len(sink.taken)))
    assert len(sink.taken) == engine.nodes["source"].counters.emitted
    await until(lambda: file.read_text() == "cancelled\nclosed\n")


async def test_a_full_wire_holds_the_worker(engine: Engine) -> None:
    """A source in a worker waits while the Rack has no room."""
    gate = asyncio.Event()
    sink = Collecting("sink", gate)
    engine.add(isolated(gears.COUNTING, context("source"), total=100), gears.COUNTING)
    engine.add(sink, SINK)
    engine.connect("source", "sink", queue=5)
    await engine.start()
    await until(lambda: engine.nodes["source"].counters.emitted >= 7)
    for _ in range(20):
        await asyncio.sleep(0.002)
    assert engine.nodes["source"].counters.emitted == 7  # one at the sink, five in the wire, one waiting
    gate.set()
    await engine.finished()
    assert numbers(sink.taken) == list(range(100))


# --- death --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exit", "kill"])
async def test_a_batch_at_hand_survives_its_worker(
    engine: Engine, letters: Letters, how: str, tmp_path: Path
) -> None:
    """A worker that dies over a batch: another one takes the same batch, and the reason is told."""
    gear = isolated(gears.DYING, context("g"), text=how, file=tmp_path / "once")
    sink = line(engine, gear, gears.DYING, 20, 4)
    await finish(engine)
    assert numbers(sink.taken) == list(range(20))
    assert not letters.kept
    said = engine.nodes["g"].last_error
    assert ("exit code 7" if how == "exit" else "SIGKILL") in said
    assert "these are; my last words" in said


async def test_workers_killed_under_load_lose_nothing_that_settled(engine: Engine, tmp_path: Path) -> None:
    """kill -9 of both workers again and again: what a source was told is settled arrived, in order, once."""
    settled = tmp_path / "settled"
    sink = Collecting("sink")
    source = Counting("source", 6000, batch=20)
    worker = isolated(gears.PASSING, context("pass"))
    engine.add(source, SOURCE)
    engine.add(worker, gears.PASSING, backoff=Quick())
    engine.add(sink, SINK)
    engine.connect("source", "pass", queue=100)
    engine.connect("pass", "sink", queue=100)
    restless = isolated(gears.COUNTING, context("other"), file=settled, batch=10)
    engine.add(restless, gears.COUNTING, backoff=Quick())
    other = Collecting("other-sink")
    engine.add(other, SINK)
    engine.connect("other", "other-sink", queue=50)
    await engine.start()
    for round_ in range(1, 4):
        seen = len(other.taken)
        await until(lambda seen=seen: len(other.taken) > seen + 100)
        for gear in (worker, restless):
            await until(lambda gear=gear: gear.pid)
            os.kill(gear.pid or 0, signal.SIGKILL)
        await until(lambda enough=round_: engine.nodes["other"].counters.errors >= enough)
    await until(lambda: len(sink.taken) == 6000)
    assert numbers(sink.taken) == list(range(6000))
    await until(lambda: engine.nodes["pass"].counters.opened >= 2)
    starts = [message.data["seq"] for message in other.taken if message.data["seq"] % 10 == 0]
    for start in map(int, settled.read_text().split()):
        assert start in starts


async def test_an_idle_worker_that_is_killed_comes_back(engine: Engine) -> None:
    """A gear that waits for input has a new worker soon after kill -9, without a batch to notice it by."""
    gear = isolated(gears.PASSING, context("g"))
    engine.add(gear, gears.PASSING, backoff=Quick())
    await engine.start()
    await until(lambda: gear.pid and engine.nodes["g"].state is State.RUNNING)
    first = gear.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: gear.pid not in (None, first) and engine.nodes["g"].state is State.RUNNING)
    assert "SIGKILL" in engine.nodes["g"].last_error
    assert not alive(first)


async def test_the_others_do_not_notice(engine: Engine) -> None:
    """While one worker is killed, a neighbour's batches go on."""
    gear = isolated(gears.PASSING, context("g"))
    engine.add(gear, gears.PASSING, backoff=Quick())
    neighbour, sink = Counting("neighbour"), Collecting("sink")
    engine.add(neighbour, SOURCE)
    engine.add(sink, SINK)
    engine.connect("neighbour", "sink", queue=10)
    await engine.start()
    await until(lambda: gear.pid)
    os.kill(gear.pid or 0, signal.SIGKILL)
    seen = len(sink.taken)
    await until(lambda: len(sink.taken) > seen + 100)
    assert engine.nodes["neighbour"].counters.errors == 0


@pytest.mark.parametrize("where", ["run", "close"])
async def test_a_gear_that_blocks_does_not_keep_the_rack_up(
    engine: Engine, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that blocks when it is to stop is killed, after what it emitted has arrived."""
    monkeypatch.setattr("racks.worker.link.SILENCE_S", 0.2)
    monkeypatch.setattr("racks.worker.isolated.CLOSE_S", 0.2)
    sink = Collecting("sink")
    engine.add(isolated(gears.STUBBORN, context("g"), text=where), gears.STUBBORN)
    engine.add(sink, SINK)
    engine.connect("g", "sink")
    await engine.start()
    await until(lambda: sink.taken)
    assert await engine.drain(10.0) == 0
    await until(lambda: not workers())


async def test_stopping_at_once_leaves_no_worker(engine: Engine) -> None:
    """A stop in the midst of work ends the workers; receipts that were open fail with Stopped."""
    gate = asyncio.Event()
    source = Counting("source", 50, batch=10)
    engine.add(source, SOURCE)
    engine.add(isolated(gears.PASSING, context("g")), gears.PASSING)
    engine.add(Collecting("sink", gate), SINK)
    engine.connect("source", "g")
    engine.connect("g", "sink")
    await engine.start()
    await until(lambda: engine.nodes["g"].counters.emitted)
    await engine.stop()
    assert not workers()
    with pytest.raises(Stopped):
        await source.receipts[0]


# --- what it says -------------------------------------------------------------------------------------------


async def test_logs_and_last_words_are_the_racks(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The Rack logs what a gear logs in its worker, at its level and under its name; so what it prints."""
    caplog.set_level(logging.INFO, logger="fluxrig")
    log = logging.getLogger("fluxrig.talker")
    base = context("talker")
    speaking = Context(rack=base.rack, gear=base.gear, uns=base.uns, log=log)
    engine.add(isolated(gears.TALKING, speaking), gears.TALKING)
    await finish(engine)
    await until(lambda: engine.nodes["talker"].state is State.FAILED)
    said = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert ("fluxrig.talker", "INFO", "first line") in said
    assert ("fluxrig.talker", "INFO", "second line") in said
    assert ("fluxrig.talker", "WARNING", "plain") in said
    assert not [line for line in said if "not at this level" in line[2]]


async def test_settings_that_cannot_cross_are_refused(made: Callable[[Isolated], Isolated]) -> None:
    """A configuration that does not pickle is Fatal, not a traceback."""

    class Local(GearConfig):
        """Not to be found by another process."""

    gear = made(Isolated(gears.PASSING, Local(), context("g")))
    with pytest.raises(Fatal, match="can't go to a worker"):
        await gear.open()


async def test_using_it_before_it_is_open_is_disconnected() -> None:
    """Without a worker every call says so."""
    gear = isolated(gears.PASSING, context("g"))
    await gear.close()
    with pytest.raises(Disconnected):
        await gear.process((context().message({"seq": 1}),), IN)
    with pytest.raises(Disconnected):
        await gear.run(Workbench().emit)


async def test_not_ready_crosses_as_itself(made: Callable[[Isolated], Isolated]) -> None:
    """An error is the same kind with the same text on both sides."""
    gear = made(isolated(gears.RAISING, context("g"), error="NotReady", text="Pumpe läuft nicht"))
    await gear.open()
    with pytest.raises(NotReady, match=r"^Pumpe läuft nicht$"):
        await gear.process((context().message({"seq": 3}),), IN)
