"""The Mixer keeps the newest of each asset, whatever comes, and no more than its bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxrig.codec import encode
from fluxrig.message import FluxMsg
from fluxrig.testing import ManualClock
from mixer import live
from mixer.health import Health
from mixer.live import Live


def message(uns: str, value: Any) -> bytes:
    return encode(
        FluxMsg(id=bytes(16), ts=1 << 60, src="press/oven", uns=uns, schema="x/1", data={"v": value})
    )


@pytest.fixture
def lane() -> Live:
    clock = ManualClock()
    return Live(Health(clock), clock)


async def ask(lane: Live, uns: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await lane.answer("", uns.encode()))
    return answer


async def test_the_newest_of_each_asset_is_shown(lane: Live) -> None:
    """By path, with its age; a path shows what is at and below it alone."""
    for uns, value in (("acme/lyon", 1), ("acme/lyon/press", 2), ("acme/lyonnaise", 3), ("acme/lyon", 4)):
        await lane.take(f"fluxrig.live.{uns.replace('/', '.')}", message(uns, value))
    await lane._clock.advance(2)  # type: ignore[attr-defined]
    found = await ask(lane)
    assert [(one["uns"], one["data"]["v"]) for one in found["assets"]] == [
        ("acme/lyon", 4),
        ("acme/lyon/press", 2),
        ("acme/lyonnaise", 3),
    ]
    assert {one["age_s"] for one in found["assets"]} == {2.0}
    assert [one["uns"] for one in (await ask(lane, "acme/lyon"))["assets"]] == [
        "acme/lyon",
        "acme/lyon/press",
    ]


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\xa0", b"x" * 1000])
async def test_what_is_no_message_is_passed_over(lane: Live, payload: bytes) -> None:
    """A Rack may publish anything on its own subjects."""
    await lane.take("fluxrig.live.acme.lyon", payload)
    assert (await ask(lane))["assets"] == []


async def test_a_message_in_anothers_place_is_passed_over(lane: Live) -> None:
    """The subject is what a Rack's rights cover, so it is the subject that counts."""
    await lane.take("fluxrig.live.acme.paris", message("acme/lyon", 1))
    assert (await ask(lane))["assets"] == []


async def test_values_of_every_kind_can_be_shown(lane: Live) -> None:
    """Bytes, NaN and large integers become what JSON has."""
    for value in (b"\x00\xff", float("nan"), 1 << 70, None, [1, {"a": b"x"}]):
        await lane.take("fluxrig.live.acme.lyon", message("acme/lyon", value))
        assert len((await ask(lane))["assets"]) == 1


async def test_it_is_bounded(lane: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many assets those that were silent longest go, and an answer says what it leaves out."""
    monkeypatch.setattr(live, "MAX_ASSETS", 3)
    monkeypatch.setattr(live, "MAX_ANSWER", 2)
    for name in "abcad":
        await lane.take(f"fluxrig.live.acme.{name}", message(f"acme/{name}", 1))
    found = await ask(lane)
    assert [one["uns"] for one in found["assets"]] == ["acme/a", "acme/c"]
    assert found["left_out"] == 1
