"""Configuration of `stdout`."""

from __future__ import annotations

from typing import Literal

from fluxrig.gear import IN, GearConfig, Manifest


class Config(GearConfig):
    """How messages are printed."""

    format: Literal["json", "diagnostic", "hex"] = "json"
    """`json`: one object a line. `diagnostic`: CBOR diagnostic notation (RFC 8949 §8), which shows every
    type as it is. `hex`: the encoded bytes, for `fluxrig decode`."""


MANIFEST = Manifest(
    kind="stdout",
    summary="A sink that prints messages: JSON lines, diagnostic notation or hex",
    config=Config,
    gear="gears.stdout.gear:Stdout",
    inputs=(IN,),
    outputs=(),
)
