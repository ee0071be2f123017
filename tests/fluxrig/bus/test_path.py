"""From a leaf's publisher over the link to a consumer of the hub."""

from __future__ import annotations

from fluxrig.bus import Bus, Consumer, Leaf, Parcel, Publisher, Stored, stream_state


async def drain(consumer: Consumer, count: int) -> list[Stored]:
    got: list[Stored] = []
    while len(got) < count:
        batch = await consumer.fetch(1000, 10.0)
        assert batch, f"only {len(got)} of {count} came"
        got += batch
    return got


async def test_what_the_leaf_stored_comes_out_of_the_hub_in_order(
    hub_bus: Bus, linked: tuple[Leaf, Bus]
) -> None:
    """Subjects at and below the prefix arrive once, in order, and their headers count fluxMsgs gap-free."""
    _, bus = linked
    publisher = Publisher(bus, "UNS")
    subjects = ["fluxrig.uns.acme.lyon", "fluxrig.uns.acme.lyon.press"]
    await publisher.store([Parcel(subjects[i % 2], b"%d" % i, 1 + i % 3) for i in range(50)])
    consumer = Consumer(hub_bus, "UNS", "audit", 0)
    got = await drain(consumer, 50)
    assert [m.payload for m in got] == [b"%d" % i for i in range(50)]
    assert [m.subject for m in got] == [subjects[i % 2] for i in range(50)]
    numbers = [int(m.headers["Fluxrig-Seq"]) for m in got]
    counts = [int(m.headers["Fluxrig-Count"]) for m in got]
    assert numbers == [sum(counts[:i]) for i in range(50)]
    await consumer.ack_through(got[-1].seq)
    state = await stream_state(hub_bus, "UNS")
    assert (state.messages, state.last_seq) == (50, got[-1].seq)
