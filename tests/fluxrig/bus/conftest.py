"""A leaf, a hub, and both linked, each on free ports in a folder of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluxrig.bus import (
    Bus,
    Hub,
    Leaf,
    LeafRemote,
    add_source,
    ensure_hub_streams,
    ensure_leaf_streams,
    watch_sources,
)

from .trusted import Operator

RACK = "press"
PREFIX = "acme/lyon"


@pytest.fixture
async def leaf(tmp_path: Path) -> AsyncIterator[Leaf]:
    async with Leaf(RACK, tmp_path / "leaf", sync="1s") as server:
        yield server


@pytest.fixture
async def leaf_bus(leaf: Leaf) -> AsyncIterator[Bus]:
    async with await leaf.connect("test") as bus:
        await ensure_leaf_streams(bus, RACK, leaf.store_dir)
        yield bus


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "operator")


@pytest.fixture
async def hub(tmp_path: Path, operator: Operator) -> AsyncIterator[Hub]:
    async with Hub(tmp_path / "hub", operator.trust, leaf_port=0, sync="1s") as server:
        yield server


@pytest.fixture
async def hub_bus(hub: Hub, operator: Operator) -> AsyncIterator[Bus]:
    async with await hub.connect("test", operator.user()) as bus:
        await ensure_hub_streams(bus)
        watch = asyncio.create_task(watch_sources(bus))
        yield bus
        watch.cancel()


@pytest.fixture
def remote(hub: Hub, operator: Operator) -> LeafRemote:
    """What a leaf needs to dial the hub."""
    return operator.remote(hub)


@pytest.fixture
async def linked(remote: LeafRemote, hub_bus: Bus, tmp_path: Path) -> AsyncIterator[tuple[Leaf, Bus]]:
    """A leaf that the hub sources, and a connection to it."""
    async with (
        Leaf(RACK, tmp_path / "leaf", remote, sync="1s") as server,
        await server.connect("test") as bus,
    ):
        await ensure_leaf_streams(bus, RACK, server.store_dir)
        for stream in ("UNS", "DEAD"):
            await add_source(hub_bus, stream, RACK, PREFIX)
        yield server, bus
