"""The deadband gear: what passes, what is held back, what is remembered."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fluxrig.message import EVENT
from fluxrig.testing import ManualClock, check_gear, context
from gears.deadband.config import MANIFEST, Config
from gears.deadband.gear import Deadband

CONTEXT = context("press", clock=ManualClock())
SECOND = 1_000_000_000


def make(**values):
    return Deadband(Config.model_validate(values), CONTEXT)


def tags(data, at_s=0.0, meta=None, uns=None):
    return CONTEXT.message(data, ts=round(at_s * SECOND), meta=meta, uns=uns)


async def filtered(gear, *messages):
    return (await gear.process(messages, "in")).ports["out"]


async def test_a_value_within_its_threshold_is_held_back():
    """Small moves are silent; the move that leaves the band is reported, and starts a new band."""
    gear = make(tags={"pressure": 0.5})
    values = [1.0, 1.4, 1.5, 1.6, 2.0, 1.0]
    out = await filtered(gear, *(tags({"pressure": value}, n) for n, value in enumerate(values)))
    assert [message.data["pressure"] for message in out] == [1.0, 1.6, 1.0]


async def test_a_message_that_passes_whole_is_the_same_object():
    """Nothing is copied or renamed when every tag passes."""
    message = tags({"pressure": 1.0, "running": True})
    assert (await filtered(make(), message))[0] is message


async def test_a_message_that_passes_in_part_is_derived():
    """Only the tags that moved remain, with their quality and unit; `ref` names the whole; the rest stays."""
    gear = make(tags={"pressure": 1})
    meta = {"unit.pressure": "bar", "unit.level": "mm", "quality.level": "uncertain", "line": "3"}
    whole = tags({"pressure": 1.0, "level": 2}, 1, meta)
    later = tags({"pressure": 1.2, "level": 3}, 2, meta)
    (derived,) = (await filtered(gear, whole, later))[1:]
    assert derived.data == {"level": 3}
    assert derived.meta == {"unit.level": "mm", "quality.level": "uncertain", "line": "3"}
    assert derived.ref == later.id != derived.id
    assert (derived.ts, derived.uns, derived.src, derived.schema) == (
        later.ts,
        later.uns,
        later.src,
        later.schema,
    )
    assert later.data == {"pressure": 1.2, "level": 3}


async def test_a_tag_without_a_threshold_is_reported_when_it_changes():
    """Report by exception is the default."""
    out = await filtered(make(), *(tags({"on": value}) for value in (True, True, False, False, True)))
    assert [message.data["on"] for message in out] == [True, False, True]


async def test_null_and_quality_changes_pass():
    """Going bad, getting another reason and coming back are each reported once, whatever the threshold."""
    gear = make(tags={"p": "1000%"})
    bad, worse = {"quality.p": "bad:timeout"}, {"quality.p": "bad:disconnected"}
    series = [(1.0, None), (None, bad), (None, bad), (None, worse), (1.0, None), (1.0, None), (1.0, worse)]
    out = await filtered(gear, *(tags({"p": value}, n, meta) for n, (value, meta) in enumerate(series)))
    assert [message.ts // SECOND for message in out] == [0, 1, 3, 4, 6]


async def test_silence_ends_with_the_first_message_after_max_silence():
    """A value that does not move is repeated by event time, not by the wall clock."""
    gear = make(tags={"p": 1}, max_silence="10s")
    out = await filtered(gear, *(tags({"p": 1.0}, at_s) for at_s in (0, 4, 9.999, 10, 19, 25)))
    assert [message.ts / SECOND for message in out] == [0, 10, 25]


async def test_time_that_runs_backwards_is_reported():
    """A source clock set back by a day must not silence a tag for a day."""
    gear = make(tags={"p": 1}, max_silence="10s")
    out = await filtered(gear, *(tags({"p": 1.0}, at_s) for at_s in (90_000, 5, 6, 15)))
    assert [message.ts // SECOND for message in out] == [90_000, 5, 15]


async def test_other_schemas_pass_untouched():
    """Events and transactions are none of its business, however often they repeat."""
    event = CONTEXT.message({"p": 1}, schema=EVENT)
    assert await filtered(make(), event, event, event) == [event, event, event]


async def test_assets_are_kept_apart():
    """The same tag of two assets has two bands."""
    gear = make(tags={"p": 1})
    out = await filtered(
        gear, tags({"p": 1.0}, uns="a"), tags({"p": 1.0}, uns="b"), tags({"p": 1.0}, uns="a")
    )
    assert [message.uns for message in out] == ["a", "b"]


async def test_memory_is_bounded_and_forgets_the_longest_unused():
    """Beyond `max_keys` the key unused for longest makes room, is counted, and reports anew."""
    gear = make(max_keys=2)
    for tag in ("a", "b", "a", "c"):
        await filtered(gear, tags({tag: 1}))
    assert (len(gear.memory), gear.memory.forgotten) == (2, 1)
    assert await filtered(gear, tags({"a": 1})) == []
    assert len(await filtered(gear, tags({"b": 1}))) == 1


async def test_a_batch_that_raises_leaves_no_trace():
    """Offered again after a failure in its midst, the batch gives all that it would have given."""
    gear, good = make(), tags({"p": 1})
    broken = good.replace(data={"p": 2})
    broken.fields["data"] = 7
    with pytest.raises(AttributeError):
        await gear.process((good, broken), "in")
    assert await filtered(gear, good) == [good]


@given(
    values=st.lists(st.floats(-1e6, 1e6), max_size=60),
    width=st.floats(0, 1e5),
    cuts=st.lists(st.integers(1, 7), min_size=1),
)
def test_reconstruction_is_never_off_by_more_than_the_threshold(values, width, cuts):
    """Who holds the value last reported is at any time within the threshold, however the batches are cut."""

    async def play():
        gear, held, n = make(tags={"p": width}), None, 0
        while n < len(values):
            size = cuts[n % len(cuts)]
            part = values[n : n + size]
            out = await filtered(gear, *(tags({"p": value}, n + i) for i, value in enumerate(part)))
            reported = {message.ts // SECOND: message.data["p"] for message in out}
            for i, value in enumerate(part):
                held = reported.get(n + i, held)
                assert abs(value - held) <= width
            n += len(part)

    asyncio.run(play())


@given(gaps=st.lists(st.integers(0, 30), max_size=60), limit=st.integers(1, 40))
def test_silence_is_bounded_while_messages_come(gaps, limit):
    """At every message the last report is younger than max_silence, or the message is itself a report."""

    async def play():
        gear, now, last = make(tags={"p": 1e9}, max_silence=f"{limit}s"), 0, None
        for gap in gaps:
            now += gap
            if await filtered(gear, tags({"p": float(now)}, now)):
                last = now
            assert now - last < limit

    asyncio.run(play())


@pytest.mark.parametrize(
    ("values", "mend"),
    [({"tags": {"p": "lots"}}, "5%"), ({"max_silence": 10}, "10s"), ({"max_keys": 0}, "1")],
)
def test_a_wrong_value_is_named_with_the_mend(values, mend):
    """Each fault says what to write."""
    with pytest.raises(ValidationError, match=mend):
        Config.model_validate(values)


async def test_it_keeps_the_gear_contract():
    """The public conformance kit passes."""
    batch = (tags({"p": 1.0}), tags({"p": 1.0, "q": 2}), CONTEXT.event("x", "y"))
    await check_gear(lambda context: Deadband(Config(), context), MANIFEST, inputs=[batch])
