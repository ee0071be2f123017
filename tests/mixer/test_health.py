"""What the Mixer knows of a Rack's health and clock, from what the Rack says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxrig.testing import ManualClock
from mixer.health import Health

SECOND = 10**9


def beat(clock: ManualClock, ahead_ms: float = 0.0, rtt_ms: float = 20.0, **health: Any) -> bytes:
    """A heartbeat that took half of the round trip to come here."""
    sent_ns = clock.now_ns() - int(rtt_ms / 2 * 1e6) + int(ahead_ms * 1e6)
    return json.dumps(
        {"version": "1", "clock_ns": sent_ns, "rtt_ns": int(rtt_ms * 1e6), "health": health}
    ).encode()


@pytest.mark.parametrize("ahead_ms", [0.0, 3_600_000.0, -3_600_000.0, 12.5])
async def test_the_offset_of_a_clock_is_found(ahead_ms: float) -> None:
    """An hour fast or slow is seen with the second heartbeat, half of the round trip allowed for."""
    clock = ManualClock()
    health = Health(clock)
    health.note("press", beat(clock, ahead_ms))
    assert health.of("press")["clock_offset_ms"] == pytest.approx(ahead_ms, abs=0.1)


async def test_one_slow_answer_does_not_move_the_offset() -> None:
    """A round trip that was held up on one way moves the estimate by a fraction; a step shows at once."""
    clock = ManualClock()
    health = Health(clock)
    for _ in range(5):
        health.note("press", beat(clock, 0.0))
    health.note("press", beat(clock, 40.0, rtt_ms=100.0))
    assert abs(health.of("press")["clock_offset_ms"]) < 10
    health.note("press", beat(clock, 5000.0))
    assert health.of("press")["clock_offset_ms"] == pytest.approx(5000, abs=1)


async def test_backlog_drops_and_losses_add_up() -> None:
    """All streams of a Rack together, the oldest of all, and why it takes nothing."""
    clock = ManualClock()
    health = Health(clock)
    streams = {
        "UNS": {
            "backlog": 10,
            "backlog_bytes": 100,
            "oldest": "2026-11-21T10:00:00Z",
            "dropped": 3,
            "lost": 1,
        },
        "DEAD": {
            "backlog": 2,
            "backlog_bytes": 20,
            "oldest": "2026-11-21T09:00:00.123456789Z",
            "waiting": "full",
        },
    }
    health.note("press", beat(clock, streams=streams, failed=["oven"]))
    found = health.of("press")
    assert (found["backlog"], found["backlog_bytes"], found["dropped"], found["lost"]) == (12, 120, 3, 1)
    assert found["oldest"] == "2026-11-21T09:00:00.123456789Z"
    assert (found["waiting"], found["failed"]) == ("full", ["oven"])


async def test_a_silent_rack_is_away() -> None:
    """Online while it says something; the last word stays."""
    clock = ManualClock()
    health = Health(clock)
    assert not health.of("press")["online"]
    health.note("press", beat(clock))
    assert health.of("press")["online"]
    await clock.advance(60)
    assert not health.of("press")["online"]
    assert health.of("press")["version"] == "1"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"health": 3}',
        b'{"clock_ns": -5}',
        b'{"clock_ns": 1e400}',
        b'{"health": {"streams": {"UNS": {"backlog": "many"}}}}',
        b'{"health": {"streams": {"UNS": {"oldest": 5}}}}',
        json.dumps({"health": {"failed": ["x" * 600]}}).encode(),
        json.dumps({"health": {"streams": {str(n): {} for n in range(9)}}}).encode(),
    ],
)
async def test_nonsense_counts_as_a_sign_of_life_alone(payload: bytes) -> None:
    """A Rack may say what it likes: nothing breaks, and what was known stays."""
    clock = ManualClock()
    health = Health(clock)
    health.note("press", beat(clock, streams={"UNS": {"backlog": 7}}))
    health.note("press", payload)
    assert health.of("press")["backlog"] == 7
    assert health.of("press")["online"]


async def test_how_far_the_audit_is_behind_is_by_the_mixers_clock() -> None:
    """A Rack whose clock is an hour fast is not an hour less behind."""
    clock = ManualClock()
    health = Health(clock)
    now = clock.now_ns()
    from datetime import UTC, datetime

    ahead_s = 3600
    oldest = datetime.fromtimestamp(now / 1e9 + ahead_s - 30, UTC).isoformat()
    health.note("press", beat(clock, ahead_s * 1000.0, streams={"UNS": {"backlog": 5, "oldest": oldest}}))
    assert health.behind_s("press", now) == pytest.approx(30, abs=0.2)
    health.note("press", beat(clock, ahead_s * 1000.0, streams={"UNS": {"backlog": 0}}))
    assert health.behind_s("press", now) == 0
    assert health.behind_s("other", now) is None
