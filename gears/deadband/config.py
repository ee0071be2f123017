"""Configuration of `deadband`."""

from __future__ import annotations

from pydantic import Field

from fluxrig.duration import Seconds
from fluxrig.gear import IN, GearConfig, Manifest
from gears.deadband.threshold import ThresholdField


class Config(GearConfig):
    """How far each tag may move, and how long it may be silent, before it is reported."""

    tags: dict[str, ThresholdField] = Field(default_factory=dict, max_length=5000)
    """The threshold by tag: a number in the tag's unit (`0.5`), or percent of the value last reported (`5%`).
    A tag that is not named here is reported whenever it changes at all."""
    max_silence: Seconds | None = None
    """Report a tag that was silent for so long, by the messages' own time, even if it did not move; absent:
    never."""
    max_keys: int = Field(default=100_000, ge=1, le=10_000_000)
    """How many pairs of asset and tag are remembered. Beyond that the one unused for longest is
    forgotten, and reported anew when it comes again."""


MANIFEST = Manifest(
    kind="deadband",
    summary="Report by exception: passes a tag when it moved enough, or was silent for too long",
    config=Config,
    gear="gears.deadband.gear:Deadband",
    inputs=(IN,),
)
