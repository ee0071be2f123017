"""The live lane: the newest of each subject, once a second, and no more than its bounds."""

from __future__ import annotations

import asyncio

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


async def turn(lane: LiveLane) -> None:
    await lane._send()


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


async def test_it_waits_while_nobody_is_there(monkeypatch) -> None:
    """While the Mixer is away nothing is published; when it is back, what is newest then."""
    monkeypatch.setattr(live, "EVERY_S", 0.01)
    listener, online = Listener(), False
    lane = LiveLane(listener.publish)
    task = asyncio.create_task(lane.run(lambda: online))
    lane.note("fluxrig.uns.acme.press", b"1")
    await asyncio.sleep(0.05)
    assert listener.heard == []
    lane.note("fluxrig.uns.acme.press", b"2")
    online = True
    async with asyncio.timeout(5):
        while not listener.heard:  # noqa: ASYNC110 - the lane polls
            await asyncio.sleep(0.01)
    assert listener.heard == [("fluxrig.live.acme.press", b"2")]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
