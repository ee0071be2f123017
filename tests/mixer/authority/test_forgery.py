"""What a Rack that owns its leaf makes the hub take: nothing of it touches a neighbour's numbers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fluxrig.bus import UNS, Bus
from fluxrig.bus.sources import restart_sources
from fluxrig.codec import encode_sequence
from mixer.audit.query import query
from tests.processes import until_async

from .plant import Plant, plant
from .pretender import Pretender, header_block
from .site import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with plant(tmp_path_factory.mktemp("plant"), "mallory", "liar") as one:
        yield one


async def test_nobody_learns_where_a_neighbour_is_asked_to_answer(site: Plant) -> None:
    """The hub asks a leaf's streams under subjects of its own: no other hears of them, or may answer."""
    async with site.leaf("mallory") as leaf:
        await leaf.flushed()
        await restart_sources(site.centre.mixer._projects["default"].bus, UNS, ["$JS.good.API"])
        await site.undisturbed()
        await leaf.flushed()
        assert [subject for subject in leaf.interest() if subject.startswith("$JSC.")] == []


async def test_a_forged_position_does_not_move_a_neighbour(site: Plant) -> None:
    """A leaf that forges how far another's was taken is put out, and a hub that starts again goes on."""
    bus = site.centre.mixer._projects["default"].bus
    hub = site.centre.mixer._hub.server
    async with site.leaf("mallory") as leaf:
        pretender = Pretender(leaf, "mallory")
        await pretender.be_sourced()
        for value in await _guesses(bus):
            header = f"NATS/1.0\r\nNats-Stream-Source: {value}zz".encode()
            pretender.deliver("fluxrig.uns.acme.mallory", b"x", header)
        await leaf.cut()
    assert await _position(bus, "good") < 1 << 60
    assert "suspended Rack mallory of default: it stored messages in another's name" in site.heard.lines
    await until_async(lambda: _holes(bus), 2)
    restarts = hub.restarts
    hub.kill()
    await until(lambda: hub.restarts > restarts)
    await site.undisturbed()


async def test_what_a_leaf_forges_ends_in_the_quarantine(site: Plant) -> None:
    """A neighbour's subject, headers, leaf and numbers, and headers that end early or not at all: no row."""
    good = site.good
    mine = {"Fluxrig_Rack": "good", "Fluxrig_Leaf": good.publisher.leaf, "Fluxrig_Count": "1"}
    true = header_block(**mine, Fluxrig_Seq=str(1 << 40))
    forged = encode_sequence([good.message(1 << 40)])
    blocks = [
        true,
        header_block(**mine, Fluxrig_Seq=str(good.sent)),  # the very next of its numbers
        header_block(**mine, Fluxrig_Seq="0"),
        true[:-2] + b"Nats-Stream-Source: UNS:x 1 a b c\r\n\r\n",
        true[:-2] + b"Nats-Stream-Source: UNS:x 1 a b c zz",
        true + b"X: y\r\n\r\n",
    ]
    before = len(_asked(site, "SELECT 1 FROM quarantine"))
    async with site.leaf("liar") as leaf:
        pretender = Pretender(leaf, "liar")
        await pretender.be_sourced()
        for subject in ("fluxrig.uns.acme.good", "fluxrig.uns.acme.liar", "fluxrig.uns.nobody"):
            for block in blocks:
                pretender.deliver(subject, forged, block)
        await site.undisturbed()
        await until(lambda: len(_asked(site, "SELECT 1 FROM quarantine")) >= before + 18)
    await site.undisturbed()
    rows = "SELECT rack, leaf_seq FROM messages ORDER BY leaf_seq"
    assert _asked(site, rows) == [("good", number) for number in range(good.sent)]


def _asked(site: Plant, sql: str) -> list[tuple[object, ...]]:
    with query(site.centre.folder.audit, sql) as reader:
        table = reader.read_all()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


async def _guesses(bus: Bus) -> list[str]:
    """Give what somebody who knows the code might write as the header of `good`, without its secret."""
    info = await bus.api(f"STREAM.INFO.{UNS}")
    message = (await bus.api(f"STREAM.MSG.GET.{UNS}", {"seq": info["state"]["first_seq"]}))["message"]
    header = base64.b64decode(message["hdrs"]).decode().rpartition("Nats-Stream-Source: ")[2].strip()
    name, _, *rest = header.split(" ")
    filters = rest[0].split("\f")
    known = filters[2].split(".")[:3]
    secret = ["0" * len(one) for one in filters[2].split(".")[3:]]
    guess = "\f".join([*filters[:2], ".".join(known + secret)])
    return [
        f"$JS.ACK.d.a.{UNS}.c.1.{1 << 62}.1.1.0.x.",  # as old servers wrote it: of whichever source
        f"{name} {1 << 62} {guess} {guess} fluxrig.uns.acme.good ",
    ]


async def _holes(bus: Bus) -> int:
    state = (await bus.api(f"STREAM.INFO.{UNS}"))["state"]
    return int(state["last_seq"] - state["first_seq"] + 1 - state["messages"])


async def _position(bus: Bus, rack: str) -> int:
    info = await bus.api(f"STREAM.INFO.{UNS}")
    return next(int(one["seq"]) for one in info["sources"] if one["external"]["api"] == f"$JS.{rack}.API")
