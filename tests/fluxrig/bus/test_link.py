"""From a leaf's publisher over the link to a consumer of the hub."""

from __future__ import annotations

from fluxrig.bus import Bus, Consumer, Leaf, Parcel, Publisher, stream_state

from .ledger import assert_gap_free, take


async def test_what_the_leaf_stored_comes_out_of_the_hub_in_order(
    hub_bus: Bus, linked: tuple[Leaf, Bus]
) -> None:
    """Subjects at and below the prefix arrive once, in order, and their headers count fluxMsgs gap-free."""
    _, bus = linked
    publisher = Publisher(bus, "UNS")
    subjects = ["fluxrig.uns.acme.lyon", "fluxrig.uns.acme.lyon.press"]
    await publisher.store([Parcel(subjects[i % 2], b"%d" % i, 1 + i % 3) for i in range(50)])
    consumer = Consumer(hub_bus, "UNS", "audit", 0)
    got = await take(consumer, 50)
    assert [m.payload for m in got] == [b"%d" % i for i in range(50)]
    assert [m.subject for m in got] == [subjects[i % 2] for i in range(50)]
    assert_gap_free(got)
    await consumer.ack_through(got[-1].seq)
    state = await stream_state(hub_bus, "UNS")
    assert (state.messages, state.last_seq) == (50, got[-1].seq)
