"""The Rack's side of the Snake: registered through outages, and told what is safe."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from fluxrig.errors import BusUnavailable
from fluxrig.testing import ManualClock
from racks.snake import Snake


class Mixer:
    """Answers as the Mixer would, or not at all."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = {"ok": True, "committed": {"UNS": 0}}
        self.asked: list[dict[str, Any]] = []

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        self.asked.append(json.loads(payload))
        if self.answer is None:
            raise BusUnavailable("nobody answers")
        return json.dumps(self.answer).encode()


@pytest.fixture
async def parts() -> Any:
    mixer, clock = Mixer(), ManualClock()
    snake = Snake(mixer, rack="press", uns="acme/lyon", leaves=lambda: {"UNS": "abc"}, clock=clock)
    task = asyncio.create_task(snake.run())
    yield mixer, clock, snake
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_says_who_it_is(parts: Any) -> None:
    """The announcement names the Rack, its subtree, its leaf and its version."""
    mixer, clock, snake = parts
    await clock.advance(0)
    assert snake.up
    assert mixer.asked[0].keys() == {"rack", "uns", "leaves", "version", "health", "clock_ns", "rtt_ns"}


async def test_tells_an_outage_once_and_its_end(parts: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A long outage is one line in the log, not one every second; so is its end."""
    caplog.set_level(logging.INFO, "fluxrig.rack")
    mixer, clock, snake = parts
    await clock.advance(3)
    mixer.answer = None
    await clock.advance(60)
    assert not snake.up
    mixer.answer = {"ok": True, "committed": {"UNS": 7}}
    await clock.advance(10)
    assert snake.up
    outage, end = [record.message for record in caplog.records][-2:]
    assert "does not answer" in outage
    assert "has registered" in end
    assert sum("does not answer" in record.message for record in caplog.records) == 1


async def test_a_refusal_says_why(parts: Any) -> None:
    """The Mixer's reason reaches the Rack's operator."""
    mixer, clock, snake = parts
    mixer.answer = {"ok": False, "error": "acme/lyon belongs to rack oven"}
    await clock.advance(2)
    assert not snake.up
    assert "belongs to rack oven" in snake.last_error


async def test_flushing_waits_for_the_committed_count(parts: Any) -> None:
    """What was stored counts as flushed only once the Mixer says that it is in Parquet."""
    mixer, clock, snake = parts
    mixer.answer = {"ok": True, "committed": {"UNS": 5}}
    await clock.advance(2)
    flushed = asyncio.create_task(snake.flushed("UNS", 10, 60))
    await asyncio.sleep(0)
    assert not flushed.done()
    mixer.answer = {"ok": True, "committed": {"UNS": 10}}
    await clock.advance(2)
    assert await flushed
    assert not await snake.flushed("UNS", 11, 0.01)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        3,
        "no",
        {"ok": "x" * 3, "committed": "many"},
        {"ok": True},
        {"ok": True, "committed": {"UNS": "many"}},
    ],
)
async def test_nonsense_is_an_outage(parts: Any, answer: Any) -> None:
    """An answer that makes no sense does not end the Rack."""
    mixer, clock, snake = parts
    mixer.answer = answer
    await clock.advance(2)
    assert not snake.up
