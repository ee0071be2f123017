"""Count what is lost, doubled or reordered from the data of a stream alone."""

from __future__ import annotations

from collections.abc import Iterable

from fluxrig.bus import Bus, Consumer, Stored, stream_state


async def read_all(bus: Bus, stream: str) -> list[Stored]:
    """Give everything that the stream holds now."""
    count = (await stream_state(bus, stream)).messages
    consumer = Consumer(bus, stream, "ledger", 0)
    got = await take(consumer, count)
    await consumer.close()
    return got


async def take(consumer: Consumer, count: int) -> list[Stored]:
    """Fetch until `count` messages came."""
    got: list[Stored] = []
    while len(got) < count:
        batch = await consumer.fetch(1000, 20.0)
        assert batch, f"only {len(got)} of {count} came"
        got += batch
    return got


def assert_gap_free(messages: Iterable[Stored]) -> None:
    """Each Fluxrig-Seq is the one before plus its Fluxrig-Count, from 0 on."""
    due = 0
    for message in messages:
        assert int(message.headers["Fluxrig-Seq"]) == due, f"message {message.seq}"
        due += int(message.headers["Fluxrig-Count"])
