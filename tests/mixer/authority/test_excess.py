"""A hostile leaf that wants too much at once, or speaks something else: it is cut off, and alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fluxrig.bus import Leaf
from mixer.authority.rights import MAX_PAYLOAD_BYTES, MAX_SUBSCRIPTIONS

from .plant import Plant, plant
from .raw_leaf import raw_leaf
from .site import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTER = "fluxrig.mixer.mallory.register"
LIVE = "fluxrig.live.acme.mallory"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with plant(tmp_path_factory.mktemp("plant"), "mallory", "posing", "noisy", "double") as one:
        yield one


@pytest.mark.parametrize("subject", [REGISTER, LIVE, "deliver.mallory.S.x"])
async def test_a_message_that_is_too_large_ends_the_connection(site: Plant, subject: str) -> None:
    """Whatever it is for: one that is larger than any of ours."""
    async with site.leaf("mallory") as leaf:
        leaf.publish(subject, b"x" * (MAX_PAYLOAD_BYTES + 1))
        await leaf.cut()
    if subject == REGISTER:
        assert "Rack mallory (127.0.0.1): a message larger than it may send" in await site.refusal()
    await site.undisturbed()
    assert site.nothing_said()


async def test_a_registration_that_is_too_large_is_no_news(site: Plant) -> None:
    """What may pass the hub is held to less where it is read."""
    async with site.leaf("mallory") as leaf:
        leaf.subscribe("_INBOX.mallory.x")
        leaf.publish(REGISTER, json.dumps({"version": "x" * (100 << 10)}).encode(), "_INBOX.mallory.x")
        await until(lambda: leaf.messages)
        assert json.loads(leaf.messages[0][1])["error"].endswith("65536 are allowed")
    await site.undisturbed()


async def test_subscriptions_are_bounded(site: Plant) -> None:
    """One more than a connection may have is not taken."""
    async with site.leaf("mallory") as leaf:
        for number in range(MAX_SUBSCRIPTIONS + 1):
            leaf.subscribe(f"_INBOX.mallory.{number}")
        await leaf.flushed()
        assert "-ERR 'maximum subscriptions exceeded'" in leaf.told
    assert "Rack mallory (127.0.0.1): more subscriptions than it may have" in await site.refusal()
    await site.undisturbed()


async def test_what_is_no_leafs_protocol_ends_the_connection(site: Plant) -> None:
    """Noise behind a good login, of all kinds, is told once, and hurts nobody."""
    for line in (b"HELLO", b"LMSG", b"LMSG x -5", b"LS+ ", b"\x00" * 100, b"CONNECT {"):
        async with site.leaf("noisy") as leaf:
            leaf.say(line)
            await leaf.cut()
    assert "Rack noisy (127.0.0.1): it does not speak as a leaf does" in await site.refusal()
    await site.undisturbed()
    assert site.nothing_said()


async def test_a_leaf_that_claims_to_be_a_hub_is_put_out(site: Plant) -> None:
    """A hub would be sent what it asks for; until it is put out it gets nothing, and says nothing."""
    async with raw_leaf(site.remote("posing"), "posing", is_hub=True) as leaf:
        for subject in (">", "fluxrig.>", "$JS.>", "_INBOX.>", "deliver.>"):
            leaf.subscribe(subject)
        leaf.publish("fluxrig.mixer.good.register", b"{}", "_INBOX.posing.x")
        leaf.publish("$JS.API.STREAM.DELETE.UNS", b"{}", "_INBOX.posing.x")
        await site.undisturbed()
        await leaf.cut()
        assert leaf.messages == []
    assert "its leaf claims to be a hub" in await site.refusal()
    await site.undisturbed()


@pytest.mark.parametrize("named", ["server_name", "domain"])
async def test_a_leaf_with_a_neighbours_name_or_domain_stays_out(
    site: Plant, tmp_path: Path, named: str
) -> None:
    """A whole nats-server that poses as the neighbour's: the neighbour's connection and data stay its own."""

    class Posing(Leaf):
        def _config(self) -> dict[str, Any]:
            config = super()._config()
            if named == "server_name":
                return config | {"server_name": "good"}
            return config | {"jetstream": config["jetstream"] | {"domain": "good"}}

    async with Posing("double", tmp_path, site.remote("double"), sync="1s"):
        said = await site.refusal()
        await site.undisturbed()
    wanted = "its leaf calls itself 'good'" if named == "server_name" else "its leaf claims the domain 'good'"
    assert f"Rack double (127.0.0.1): {wanted}" in said


@pytest.mark.parametrize("subject", [LIVE, REGISTER, "fluxrig.mixer.mallory.renew", "deliver.mallory.S.x"])
async def test_a_flood_holds_up_nobody(site: Plant, subject: str) -> None:
    """As fast as a leaf can, for as long as the good Rack needs to have some messages committed."""
    async with site.leaf("mallory") as leaf:
        line = f"LMSG {subject} 200\r\n".encode() + b"x" * 200 + b"\r\n"
        flooding = asyncio.create_task(_flood(leaf._writer, line * 100))
        for _ in range(3):
            await site.undisturbed()
        flooding.cancel()
    await site.undisturbed()
    told = [line for line in site.heard.lines if "Rack mallory of default:" in line]
    assert len(told) == len(set(told)) <= 4


async def _flood(writer: asyncio.StreamWriter, data: bytes) -> None:
    while not writer.is_closing():
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0)


async def test_half_open_connections_hold_up_nobody(site: Plant) -> None:
    """Hundreds that never get past the greeting, or a part of TLS: a Rack still comes in beside them."""
    address = ("127.0.0.1", site.centre.port)
    opened = [await asyncio.open_connection(*address) for _ in range(300)]
    for _, writer in opened[:100]:
        writer.write(b"\x16\x03\x01\x02\x00\x01")  # the start of a TLS greeting
    for _, writer in opened[100:200]:
        writer.write_eof()
    async with site.leaf("mallory") as leaf:
        await leaf.flushed()
        await site.undisturbed()
    for _, writer in opened:
        writer.transport.abort()
    assert "127.0.0.1: no TLS: " in await site.refusal()
