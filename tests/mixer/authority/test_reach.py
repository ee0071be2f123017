"""What a Rack that was let in and turned hostile gets hold of: what is its own, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .plant import OTHER, Plant, plant
from .site import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = "fluxrig.uns.acme.good"
PROJECTS = pytest.mark.parametrize("project", ["default", OTHER])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with plant(tmp_path_factory.mktemp("plant"), "mallory", "posing", "loud") as one:
        yield one


@PROJECTS
@pytest.mark.parametrize(
    "subject",
    [
        GOOD,
        "fluxrig.uns.acme.mallory",  # data travels by sourcing alone
        "fluxrig.dead.good",
        "fluxrig.live.acme.good",
        "fluxrig.live.acme.malloryx",
        "fluxrig.live.acme",
        "fluxrig.ctrl.good.ping",
        "fluxrig.mixer.good.register",
        "fluxrig.mixer.good.renew",
        "fluxrig.mixer.racks",
        "fluxrig.mixer.status",
        "deliver.good.S.x",
        "_INBOX.good.x",
        "_INBOX.mixer.good.x",
        "$JSC.R.good.x.UNS.x.x",
        "$JS.good.API.STREAM.PURGE.UNS",
        "$JS.FC.UNS.x",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.CREATE.mine",
        "$JS.API.STREAM.UPDATE.UNS",
        "$JS.API.STREAM.PURGE.UNS",
        "$JS.API.STREAM.DELETE.UNS",
        "$JS.API.STREAM.MSG.DELETE.UNS",
        "$JS.API.STREAM.MSG.GET.UNS",
        "$JS.API.DIRECT.GET.UNS",
        "$JS.API.CONSUMER.CREATE.UNS",
        "$JS.hub.API.STREAM.DELETE.DEAD",
        "$JS.hub.API.STREAM.CREATE.KV_mine",
        "$KV.bucket.key",
        "$O.bucket.C.x",
        "$MQTT.msgs.x",
        "$SYS.REQ.USER.INFO",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$SYS.REQ.SERVER.PING",
    ],
)
async def test_publishing_elsewhere_ends_the_connection(site: Plant, project: str, subject: str) -> None:
    """A neighbour's data and control subjects, the hub's streams and buckets: cut off, and told once."""
    for _ in range(2):
        async with site.leaf("mallory", project) as leaf:
            leaf.publish(subject, b"{}", "_INBOX.mallory.x")
            await leaf.cut()
            assert leaf.messages == []
            assert "Permissions Violation for Publish" in leaf.told[-1]
    if project == "default":  # the other Rack of this name has the same address
        told = subject.replace("$JS.hub.API", "$JS.API")
        assert (await site.refusal()).endswith(f'not its to use: "{told}" (Publish)')
    assert site.nothing_said()


@pytest.mark.parametrize(
    "subject",
    [
        GOOD,
        "fluxrig.live.acme.good",
        "fluxrig.ctrl.good.ping",
        "fluxrig.mixer.good.register",
        "fluxrig.mixer.mallory.register",  # it may ask, not answer
        "fluxrig.mixer.racks",
        "deliver.good.S.x",
        "_INBOX.good.x",
        "_INBOX.mixer.good.x",
        "$JS.good.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JSC.R.good.x.UNS.x.x",
        "$JS.ACK.UNS.x",
        "$KV.bucket.key",
        "$SYS.REQ.USER.AUTH",
        "$MQTT.msgs.x",
    ],
)
async def test_listening_elsewhere_ends_the_connection(site: Plant, subject: str) -> None:
    """Neighbours, what the Mixer says to them, and its own subjects: cut off, and told once."""
    for _ in range(2):
        async with site.leaf("mallory") as leaf:
            leaf.subscribe(subject)
            await leaf.cut()
            assert leaf.messages == []
    assert (await site.refusal()).endswith(f'not its to use: "{subject}" (Subscription)')
    assert site.nothing_said()


async def test_listening_widely_brings_nothing_of_others(site: Plant) -> None:
    """Wildcards bring what a leaf may hear anyway, in its project and the other: the server prunes."""
    wide = [">", "*.>", "fluxrig.>", "fluxrig.ctrl.>", "fluxrig.ctrl.*.ping", "fluxrig.live.>", "deliver.>"]
    wide += ["_INBOX.>", "_INBOX.*.>", "$JS.>", "$JS.*.API.>", "$JS.FC.>", "$JSC.>", "$SYS.>", "$MQTT.>"]
    bus = site.centre.mixer._projects["default"].bus
    async with site.leaf("mallory") as leaf, site.leaf("mallory", OTHER) as other:
        for one in (leaf, other):
            for subject in wide:
                one.subscribe(subject)
            await one.flushed()
        await site.undisturbed()
        for subject in ("fluxrig.ctrl.good.ping", "_INBOX.good.x", "fluxrig.live.acme.good"):
            await bus.publish(subject, b"for good")
        await site.good.bus.publish("fluxrig.live.acme.good", b"of good")
        await bus.publish("fluxrig.ctrl.mallory.ping", b"for mallory")
        await until(lambda: leaf.messages)
        assert leaf.messages == [("fluxrig.ctrl.mallory.ping", b"for mallory")]
        assert other.messages == []
    assert site.nothing_said()
