"""A Rack that is connected, and may not be any more: it is out within seconds, and stays out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mixer.authority.door import SWEEP_S
from mixer.enrolment.client import ask

from .plant import OTHER, Plant, plant
from .raw_leaf import Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with plant(tmp_path_factory.mktemp("plant"), "mallory", "tired") as one:
        yield one


@pytest.mark.parametrize(("verb", "rack"), [("suspend", "tired"), ("revoke", "mallory")])
async def test_a_connected_rack_is_cut_within_seconds(site: Plant, verb: str, rack: str) -> None:
    """By an operator's command; the Rack of that name in the other project, and all others, stay."""
    async with site.leaf(rack, OTHER) as namesake, site.leaf(rack) as leaf:
        order = {"verb": verb, "rack": rack, "project": "default", "by": "test"}
        await ask(site.centre.folder, order)
        asked = time.monotonic()
        await leaf.cut(2 * SWEEP_S)
        assert time.monotonic() - asked < 2 * SWEEP_S
        with pytest.raises(Refused):
            async with site.leaf(rack):
                pass
        await site.undisturbed()
        await namesake.flushed()
        assert namesake.open
    assert f"Rack {rack} (127.0.0.1)" in await site.refusal()


async def test_a_resumed_rack_is_let_in_again(site: Plant) -> None:
    """What was suspended comes back with the same keys; what was revoked never does."""
    order = {"verb": "resume", "project": "default", "by": "test"}
    await ask(site.centre.folder, order | {"rack": "tired"})
    async with site.leaf("tired") as leaf:
        await leaf.flushed()
        assert leaf.open
    with pytest.raises(Exception, match="revoked"):
        await ask(site.centre.folder, order | {"rack": "mallory"})
