"""simulate keeps the contract of every gear."""

from fluxrig.testing import check_gear
from gears.simulate.config import MANIFEST, Config
from gears.simulate.gear import Simulate


async def test_it_keeps_the_gear_contract(tmp_path):
    """The public conformance kit passes, with a journal open."""
    config = Config(rate="max", batch=10, journal=tmp_path / "journal")
    await check_gear(lambda context: Simulate(config, context), MANIFEST)
