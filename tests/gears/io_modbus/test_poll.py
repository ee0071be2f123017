"""Illegal addresses: found by halving, left out, tried again rarely. Against a map instead of a device."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from fluxrig.modbus.address import Address
from fluxrig.modbus.pdu import Refusal
from fluxrig.modbus.plan import plan
from fluxrig.modbus.tag import Tag
from gears.io_modbus.poll import MAX_HALVINGS, RETRY_ILLEGAL_NS, Poller
from gears.io_modbus.terms import Answer


class Map:
    """Registers that answer their own address, but for the missing ones."""

    def __init__(self, missing=()):
        self.missing = set(missing)
        self.reads = []

    async def read(self, query):
        start, count = query.block.start, query.block.count
        self.reads.append((start, count))
        if self.missing & set(range(start, start + count)):
            raise Refusal(2)
        return Answer(b"".join(number.to_bytes(2) for number in range(start, start + count)), 0, 0)


def holes(most):
    return lambda tags: plan(tags, most)


def tags(numbers):
    return [Tag(f"r{n}", Address("holding", n), "uint16") for n in numbers]


@given(wanted=st.sets(st.integers(0, 300), min_size=1, max_size=60), missing=st.sets(st.integers(0, 300)))
def test_only_what_is_missing_is_bad(wanted, missing):
    """After enough polls every tag that exists has its own value, and only the missing are bad."""

    async def play():
        device, poller = Map(missing), Poller(tags(wanted), holes(16))
        for now in range(len(wanted) // MAX_HALVINGS + 2):
            readings = await poller.poll(device.read, now)
            assert all(value == int(name[1:]) for name, value in readings.values.items())
            assert readings.values.keys() | readings.reasons.keys() == {f"r{n}" for n in wanted}
        assert readings.values.keys() == {f"r{n}" for n in wanted - missing}
        assert set(readings.reasons.values()) <= {"illegal_data_address"}

    asyncio.run(play())


async def test_what_was_learnt_is_kept():
    """Once found, an illegal tag costs no request; its neighbours a few more than before."""
    device, poller = Map({50}), Poller(tags(range(100)), holes(0))
    await poller.poll(device.read, 0)
    assert len(device.reads) <= 16
    device.reads.clear()
    await poller.poll(device.read, 1)
    assert len(device.reads) <= 8
    assert not any(start <= 50 < start + count for start, count in device.reads)


async def test_a_device_that_was_mended_is_noticed():
    """An illegal tag is tried again after a minute, and if it answers all is read in one again."""
    device, poller = Map({50}), Poller(tags(range(100)), holes(0))
    await poller.poll(device.read, 0)
    device.missing.clear()
    assert "r50" in (await poller.poll(device.read, RETRY_ILLEGAL_NS - 1)).reasons
    device.reads.clear()
    assert (await poller.poll(device.read, RETRY_ILLEGAL_NS)).values["r50"] == 50
    assert device.reads == [(50, 1), (0, 100)]
    assert poller.illegal == {}


async def test_retries_are_one_a_poll_and_rare():
    """A hundred illegal tags cost a hundred requests a minute, and never two in one poll."""
    device, poller = Map(range(100)), Poller(tags(range(100)), holes(0))
    for _ in range(10):
        await poller.poll(device.read, 0)
    assert len(poller.illegal) == 100
    device.reads.clear()
    for second in range(120):
        before = len(device.reads)
        await poller.poll(device.read, second * 1_000_000_000)
        assert len(device.reads) - before <= 1
    assert len({start for start, _ in device.reads}) >= 90


async def test_a_wrong_tag_list_does_not_stall_polling():
    """However much is illegal, one poll halves a bounded number of blocks."""
    device, poller = Map(range(2000)), Poller(tags(range(0, 2000, 2)), holes(16))
    await poller.poll(device.read, 0)
    assert len(device.reads) <= 17 + 2 * MAX_HALVINGS
