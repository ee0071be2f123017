"""A Rack that was let in and lies: its neighbour's rows stay whole, and what it forged is put aside."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fluxrig.bus import Parcel
from fluxrig.bus.headers import LEAF
from fluxrig.codec import encode_sequence
from mixer.audit.query import query
from mixer.audit.tail import Filter, Row
from mixer.folder import Folder
from mixer.follow import follow

from ..enrolled import Box, Office
from .site import HonestRack, centre, honest, until


def asked(audit: Path, sql: str) -> list[tuple[object, ...]]:
    with query(audit, sql) as reader:
        table = reader.read_all()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


async def read(folder: Folder, shown: list[Row]) -> None:
    async for row in follow(folder, Filter(), 0):
        if "good" in row["rack"] or "good" in row["uns"]:
            shown.append(row)


async def forge(mallory: HonestRack, victim: HonestRack) -> None:
    """Store, by an own leaf, readings of the neighbour, and what takes numbers of the neighbour's leaf."""
    subject = "fluxrig.uns." + mallory.box.uns.replace("/", ".")
    for fields in ({"src": f"{victim.box.rack}/press"}, {"uns": victim.box.uns}):
        forged = encode_sequence([mallory.message(0, **fields)])
        await mallory.publisher.store([Parcel(subject, forged, 1)])
    mallory.publisher._headers[LEAF] = victim.publisher.leaf
    mallory.publisher.next_number = 10**9
    await mallory.publisher.store([Parcel(subject, encode_sequence([mallory.message(1)]), 1)])


async def test_a_rack_that_lies_harms_no_neighbour(tmp_path: Path) -> None:
    """Forged sources, assets and numbers end in the quarantine; all rows of the neighbour are there.

    Nor does `tail`, which shows what is not committed yet, show anything in the neighbour's name.
    """
    folder = Folder(tmp_path / "mixer")
    good, bad = Box(tmp_path / "good", "good", "acme/good"), Box(tmp_path / "bad", "bad", "acme/bad")
    office = Office(folder)
    for box in (good, bad):
        office.enrol(box)
    async with (
        centre(folder) as found,
        honest(good, found.port) as victim,
        honest(bad, found.port) as mallory,
    ):
        await victim.store(10)
        await victim.flushed()
        shown: list[Row] = []
        tail = asyncio.create_task(read(folder, shown))
        await forge(mallory, victim)
        async with asyncio.timeout(20):
            while len(asked(folder.audit, "SELECT 1 FROM quarantine")) < 3:  # noqa: ASYNC110 - a file tells
                await asyncio.sleep(0.05)
        await victim.store(10)
        await victim.flushed()
        await until(lambda: len(shown) >= 10)
        tail.cancel()
    assert [(row["rack"], row["uns"], row["data"]) for row in shown] == [
        ("good", "acme/good", f'{{"n":{number}}}') for number in range(10, 20)
    ]
    assert asked(folder.audit, "SELECT rack, leaf_seq FROM messages ORDER BY stream_seq, leaf_seq") == [
        ("good", number) for number in range(20)
    ]
    aside = asked(folder.audit, "SELECT rack, leaf_seq, reason FROM quarantine ORDER BY stream_seq")
    assert [(rack, number) for rack, number, _ in aside] == [("bad", 0), ("bad", 1), (None, None)]
    for word, (*_, reason) in zip(("good/press", "acme/good", "another's"), aside, strict=True):
        assert word in str(reason)
