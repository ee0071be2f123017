"""Receipts settle once, at the end, with the truth."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.errors import FluxrigError
from racks.receipt import Receipt


async def test_settles_when_the_last_hold_is_released() -> None:
    """A receipt with three descendants resolves on the last of them, not before."""
    receipt = Receipt()
    for _ in range(3):
        receipt.hold()
    waiting = asyncio.ensure_future(receipt)
    for _ in range(3):
        receipt.settle()
        await asyncio.sleep(0)
        assert not waiting.done()
    receipt.settle()
    await waiting


async def test_raises_the_first_failure_at_the_end() -> None:
    """A failure is told when everything is settled, and the first one wins."""
    receipt = Receipt()
    receipt.hold()
    receipt.hold()
    receipt.settle(FluxrigError("first"))
    receipt.settle(FluxrigError("second"))
    waiting = asyncio.ensure_future(receipt)
    await asyncio.sleep(0)
    assert not waiting.done()
    receipt.settle()
    with pytest.raises(FluxrigError, match="first"):
        await waiting
    with pytest.raises(FluxrigError, match="first"):
        await receipt


async def test_waiting_may_be_cancelled_and_begun_again() -> None:
    """One waiter that gives up does not spoil the receipt for the next."""
    receipt = Receipt()
    waiting = asyncio.ensure_future(receipt)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    again = asyncio.ensure_future(receipt)
    await asyncio.sleep(0)
    receipt.settle()
    await again


def test_settling_too_often_is_refused() -> None:
    """The engine can't settle a delivery twice without being told."""
    receipt = Receipt()
    receipt.settle()
    with pytest.raises(RuntimeError):
        receipt.settle()
    with pytest.raises(RuntimeError):
        receipt.hold()


@given(st.lists(st.booleans(), max_size=30))
def test_is_done_exactly_when_nothing_is_held(steps: list[bool]) -> None:
    """Whatever the order of holds and settlements, `done` says whether any hold is left."""
    receipt, held = Receipt(), 1
    for hold in steps:
        if not held:
            break
        receipt.hold() if hold else receipt.settle()
        held += 1 if hold else -1
        assert receipt.done == (held == 0)
