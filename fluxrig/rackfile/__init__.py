"""Rack files: read, checked, drawn."""

from fluxrig.rackfile.draw import mermaid
from fluxrig.rackfile.model import UPLINK, Endpoint, GearSpec, RackSpec, SnakeSpec, WireSpec
from fluxrig.rackfile.reader import load, parse
from fluxrig.rackfile.schema import schema

__all__ = [
    "UPLINK",
    "Endpoint",
    "GearSpec",
    "RackSpec",
    "SnakeSpec",
    "WireSpec",
    "load",
    "mermaid",
    "parse",
    "schema",
]
