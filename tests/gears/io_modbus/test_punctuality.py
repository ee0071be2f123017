"""How punctual the polls were, as consumers are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.io_modbus.punctuality import SHARES, Punctuality

LATE = st.lists(st.floats(0, 3), max_size=200)


def noted(late_s):
    punctuality = Punctuality()
    for each in late_s:
        punctuality.on_time(each)
    return punctuality


@given(LATE.filter(bool))
def test_a_share_of_the_polls_began_within_what_is_told(late_s):
    """At least that share, for each that is told; and none later than the latest."""
    punctuality = noted(late_s)
    for share in SHARES.values():
        within = sum(each <= punctuality.within_s(share) for each in late_s)
        assert within >= share * len(late_s) - 1e-9
    assert sum(bucket["polls"] for bucket in punctuality.facts()["histogram"]) == len(late_s)


@given(LATE, LATE)
def test_parts_add_up(one, two):
    """What two groups noted is what one would have that polled for both."""
    assert Punctuality.together([noted(one), noted(two)]).facts() == noted(one + two).facts()


async def test_the_histogram_is_told_and_begins_anew(plant, poll, caplog):
    """Each report is of the time since the one before; what the gear logs at its end, of its whole life."""
    caplog.set_level("INFO")
    rig = await poll(plant.port, {"n": {"at": "holding/0"}}, every="10ms", report_every="300ms")
    reports = rig.bench.emitted["error"]

    def told():
        return [each.data for each in reports if each.data["event"] == "punctuality"]

    await rig.until_true(lambda: len(told()) >= 3)
    for data in told():
        assert data["every_ms"] == 10
        assert data["polls"] == data["overruns"] + sum(bucket["polls"] for bucket in data["histogram"])
        assert data["jitter_ms"]["p50"] <= data["jitter_ms"]["p99"] <= data["jitter_ms"]["max"]
    total = sum(data["polls"] for data in told())
    assert 0 < told()[-1]["polls"] < total <= len(rig.out)
    await rig.stop()
    assert any("of their tick" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("every", [None, "1h"])
async def test_no_report_before_its_time(plant, poll, every):
    """None where none is asked for, and none at the start."""
    rig = await poll(plant.port, {"n": {"at": "holding/0"}}, every="10ms", report_every=every)
    await rig.until_true(lambda: len(rig.out) >= 40)
    assert "punctuality" not in rig.news
