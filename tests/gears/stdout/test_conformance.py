"""stdout keeps the contract of every gear."""

from fluxrig.testing import check_gear, context
from gears.stdout.config import MANIFEST, Config
from gears.stdout.gear import Stdout


async def test_it_keeps_the_gear_contract():
    """The public conformance kit passes."""
    batch = (context().message({"n": 1}), context().message({"n": None}))
    await check_gear(lambda context: Stdout(Config(), context), MANIFEST, inputs=[batch])
