"""The gear under the engine that runs it in a Rack: reconnecting is the two together."""

import asyncio

from fluxrig.gear import Gear, GearConfig, Manifest, Outputs
from fluxrig.testing import context
from gears.io_modbus.config import MANIFEST, Config
from gears.io_modbus.gear import IoModbus
from racks.backoff import Backoff
from racks.engine import Engine

KEEP = Manifest(kind="keep", summary="", config=GearConfig, gear="", inputs=("in",), outputs=())


class Keep(Gear[GearConfig]):
    """Keeps the changes in what it is told: news, and whether the tag is good."""

    def __init__(self):
        super().__init__(GearConfig(), context("keep"))
        self.news = []
        self.tag = []

    async def process(self, batch, port):
        for message in batch:
            if (event := message.data.get("event")) is None:
                self._add(self.tag, "bad" if message.data["n"] is None else "good")
            elif event != "overrun":
                self._add(self.news, event)
        return Outputs()

    def _add(self, told, word):
        if told[-1:] != [word]:
            told.append(word)

    async def until(self, news, tag):
        async with asyncio.timeout(10):
            while (self.news[-1:], self.tag[-1:]) != ([news], [tag]):  # noqa: ASYNC110 - from a real device
                await asyncio.sleep(0.005)


async def test_a_restart_of_the_device_is_one_story(plant):
    """Connected and good, disconnected and bad, connected and good: nothing else, and with nobody's help."""
    endpoint, tags = f"tcp://127.0.0.1:{plant.port}", {"n": {"at": "holding/0"}}
    config = Config.model_validate({"endpoint": endpoint, "every": "10ms", "tags": tags})
    keep = Keep()
    async with Engine() as engine:
        backoff = Backoff(first_s=0.01, longest_s=0.05)
        engine.add(IoModbus(config, context("press")), MANIFEST, backoff=backoff)
        engine.add(keep, KEEP)
        engine.connect("press", "keep")
        engine.connect("press", "keep", output="error")
        await engine.start()
        await keep.until("connected", "good")
        await plant.stop()
        await keep.until("disconnected", "bad")
        await plant.start()
        await keep.until("connected", "good")
        assert await engine.drain(5.0) == 0
    assert keep.news == ["connected", "disconnected", "connected"]
    assert keep.tag == ["good", "bad", "good"]
