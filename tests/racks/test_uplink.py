"""The uplink accepts what the leaf has stored, and says of everything else why not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fluxrig.bus import MAX_PARCEL_BYTES, Parcel
from fluxrig.codec import Carried, decode_sequence, encode
from fluxrig.gear import Batch, Outputs
from fluxrig.message import OFFLINE, FluxMsg
from fluxrig.testing import check_gear, context
from racks import uplink
from racks.uplink import Uplink, pack


class MemoryLeaf:
    """Keeps parcels as a leaf's stream would."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []

    async def store(self, parcels: Sequence[Parcel]) -> None:
        self.parcels += parcels

    @property
    def messages(self) -> list[FluxMsg]:
        return [message for parcel in self.parcels for message in decode_sequence(parcel.payload)]


RACK = context("uplink")
PRESS = context("press")


def readings(count: int, uns: str | None = None) -> Batch:
    return tuple(PRESS.message({"seq": number}, uns=uns or RACK.uns) for number in range(count))


async def offer(batch: Batch) -> tuple[MemoryLeaf, Uplink, Outputs]:
    leaf = MemoryLeaf()
    gear = Uplink(RACK, leaf.store)
    return leaf, gear, await gear.process(batch, "in")


async def test_conforms_to_the_gear_contract() -> None:
    """The built-in sink keeps the same promises as every gear."""
    leaf = MemoryLeaf()
    await check_gear(
        lambda given: Uplink(given, leaf.store), uplink.MANIFEST, [readings(3, "acme/lyon/gear")]
    )


async def test_stores_each_asset_in_order_under_its_subject() -> None:
    """Messages of two assets go to two subjects, each in order."""
    batch = readings(4) + readings(4, f"{RACK.uns}/pump")
    leaf, gear, outputs = await offer(batch[::2] + batch[1::2])
    assert not outputs.rejected
    assert gear.accepted == 8
    assert {parcel.subject for parcel in leaf.parcels} == {
        "fluxrig.uns.acme.lyon.uplink",
        "fluxrig.uns.acme.lyon.uplink.pump",
    }
    assert [m.data["seq"] for m in leaf.messages if m.uns == RACK.uns] == [0, 2, 1, 3]


async def test_refuses_assets_that_are_not_the_racks() -> None:
    """A message outside of the Rack's subtree is rejected with the reason; the others are stored."""
    foreign = [
        "acme/paris",
        f"{RACK.uns}x",
        "acme.lyon",
        "a b",
        "acme/lyon/uplink/*",
        "acme/lyon/uplink/>",
        "",
    ]
    batch = tuple(message for uns in foreign for message in (PRESS.message({"x": 1}).replace(uns=uns),))
    leaf, gear, outputs = await offer(batch + readings(1))
    assert [message.uns for message, _ in outputs.rejected] == foreign
    assert all(reason for _, reason in outputs.rejected)
    assert gear.accepted == len(leaf.messages) == 1


async def test_refuses_what_has_no_encoding_or_is_too_large() -> None:
    """A value outside of CBOR, or a message above the bound, is rejected; nothing else suffers."""
    bad = PRESS.message({"x": object()}, uns=RACK.uns)
    large = PRESS.message({"x": b"0" * MAX_PARCEL_BYTES}, uns=RACK.uns)
    leaf, _, outputs = await offer((bad, large, *readings(2)))
    assert [message.id for message, _ in outputs.rejected] == [bad.id, large.id]
    assert "data" in outputs.rejected[0][1]
    assert str(MAX_PARCEL_BYTES) in outputs.rejected[1][1]
    assert len(leaf.messages) == 2


async def test_rejections_of_such_messages_can_be_stored() -> None:
    """The rejection of a message that has no encoding, or is too large, has one and is not."""
    for message in (PRESS.message({"x": object()}), PRESS.message({"x": b"0" * MAX_PARCEL_BYTES})):
        leaf, _, outputs = await offer((RACK.rejection(message, "no").replace(uns=RACK.uns),))
        assert not outputs.rejected
        assert leaf.messages[0].ref == message.id


async def test_what_comes_while_the_mixer_is_away_is_marked() -> None:
    """Bit 0 of the flags, in the stored bytes, beside flags that the message has; nothing else changes."""
    leaf, online = MemoryLeaf(), True
    gear = Uplink(RACK, leaf.store, is_online=lambda: online)
    first, second, third = (*readings(2), readings(1)[0].replace(flags=4))
    await gear.process((first,), "in")
    online = False
    await gear.process((second, Carried(encode(third), third.uns)), "in")
    online = True
    await gear.process((first,), "in")
    assert [message.flags for message in leaf.messages] == [0, OFFLINE, 4 | OFFLINE, 0]
    assert [message.replace(flags=0) for message in leaf.messages] == [
        first,
        second,
        third.replace(flags=0),
        first,
    ]
    assert "flags" not in second.fields


async def test_the_newest_of_each_asset_is_shown_as_it_comes() -> None:
    """Also when the store is full: what is true now does not wait for it."""
    shown: list[tuple[str, bytes]] = []

    async def full(_: Sequence[Parcel]) -> None:
        await asyncio.sleep(60)

    gear = Uplink(RACK, full, on_newest=lambda subject, encoded: shown.append((subject, encoded)))
    batch = readings(3)
    task = asyncio.create_task(gear.process(batch, "in"))
    await asyncio.sleep(0)
    task.cancel()
    assert shown == [("fluxrig.uns.acme.lyon.uplink", encode(batch[-1]))]


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=50), st.integers(1, 100))
def test_packing_keeps_everything_in_order_within_the_bound(items: list[bytes], limit: int) -> None:
    """Parcels joined again are the items in order; none is above the limit unless one item alone is."""
    parcels = list(pack([("subject", items)], limit))
    assert b"".join(parcel.payload for parcel in parcels) == b"".join(items)
    assert sum(parcel.count for parcel in parcels) == len(items)
    assert all(len(parcel.payload) <= limit or parcel.count == 1 for parcel in parcels)
