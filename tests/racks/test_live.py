"""The live lane: the newest of each subject, once a second, and no more than its bounds."""

from __future__ import annotations

import asyncio

import pytest

from fluxrig.errors import BusUnavailable
from racks import live
from racks.live import LiveLane


class Listener:
    """Takes what is published, or is away."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.away = False

    async def publish(self, subject: str, payload: bytes) -> None:
        if self.away:
            raise BusUnavailable("away")
        self.heard.append((subject, payload))


async def turn(lane: LiveLane, *, heard: bool = True) -> None:
    await lane._send(heard)


async def test_only_the_newest_of_each_subject_is_sent() -> None:
    """What came in between is the stream's to carry; nothing new, nothing sent."""
    listener = Listener()
    lane = LiveLane(listener.publish)
    for number in range(5):
        lane.note("fluxrig.uns.acme.press", b"%d" % number)
    lane.note("fluxrig.uns.acme.pump", b"x")
    await turn(lane)
    assert listener.heard == [("fluxrig.live.acme.press", b"4"), ("fluxrig.live.acme.pump", b"x")]
    await turn(lane)
    assert len(listener.heard) == 2


async def test_an_outage_leaves_nothing_behind() -> None:
    """What could not be sent is old by the next second: it is not sent then."""
    listener = Listener()
    lane = LiveLane(listener.publish)
    listener.away = True
    lane.note("fluxrig.uns.acme.press", b"old")
    await turn(lane)
    listener.away = False
    await turn(lane)
    assert listener.heard == []


async def test_it_is_bounded() -> None:
    """Neither many subjects nor large messages make it grow."""
    listener = Listener()
    lane = LiveLane(listener.publish)
    for number in range(live.MAX_SUBJECTS + 10):
        lane.note(f"fluxrig.uns.acme.{number}", b"x")
    lane.note("fluxrig.uns.acme.0", b"y")
    lane.note("fluxrig.uns.acme.1", bytes(live.MAX_BYTES + 1))
    await turn(lane)
    assert len(listener.heard) == live.MAX_SUBJECTS
    assert listener.heard[:2] == [("fluxrig.live.acme.0", b"y"), ("fluxrig.live.acme.1", b"x")]


async def test_what_nobody_may_have_heard_is_sent_once_more() -> None:
    """While the Mixer does not answer only what is new goes out; once it does, the newest of each subject."""
    listener = Listener()
    lane = LiveLane(listener.publish)
    lane.note("fluxrig.uns.acme.press", b"1")
    lane.note("fluxrig.uns.acme.pump", b"a")
    await turn(lane, heard=False)
    lane.note("fluxrig.uns.acme.press", b"2")
    await turn(lane, heard=False)
    press, pump = "fluxrig.live.acme.press", "fluxrig.live.acme.pump"
    assert listener.heard == [(press, b"1"), (pump, b"a"), (press, b"2")]
    listener.heard.clear()
    lane.note("fluxrig.uns.acme.press", b"3")
    await turn(lane)
    assert sorted(listener.heard) == [(press, b"3"), (pump, b"a")]
    listener.heard.clear()
    await turn(lane)
    assert listener.heard == []


async def test_what_nobody_may_have_heard_is_bounded() -> None:
    """A long outage with ever new subjects keeps no more of them than one second may bring."""
    listener = Listener()
    lane = LiveLane(listener.publish)
    for number in range(live.MAX_SUBJECTS):
        lane.note(f"fluxrig.uns.acme.{number}", b"x")
    await turn(lane, heard=False)
    lane.note("fluxrig.uns.acme.new", b"y")
    await turn(lane, heard=False)
    listener.heard.clear()
    await turn(lane)
    assert len(listener.heard) == live.MAX_SUBJECTS
    assert ("fluxrig.live.acme.new", b"y") in listener.heard


async def test_it_runs_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is noted goes out within a turn."""
    monkeypatch.setattr(live, "EVERY_S", 0.01)
    listener = Listener()
    lane = LiveLane(listener.publish)
    task = asyncio.create_task(lane.run(lambda: False))
    lane.note("fluxrig.uns.acme.press", b"1")
    async with asyncio.timeout(5):
        while not listener.heard:  # noqa: ASYNC110 - the lane polls
            await asyncio.sleep(0.01)
    assert listener.heard == [("fluxrig.live.acme.press", b"1")]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
