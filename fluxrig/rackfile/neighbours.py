"""Gears that are right by themselves, but not beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from fluxrig.rackfile.faults import Faults
from fluxrig.rackfile.model import GearSpec
from fluxrig.rackfile.nodes import MapNode


def clashes(gears: Mapping[str, GearSpec | None], entries: MapNode, faults: Faults) -> None:
    """Add a fault, at the later gear, for whatever two gears of one kind say that can't both be."""
    whole = [gear for gear in gears.values() if gear is not None]
    for one, other in combinations(whole, 2):
        if type(one.config) is not type(other.config):
            continue
        apart = "process" in (one.isolate, other.isolate)
        node = entries.values[other.name]
        for key, reason in other.config.clashes(one.config, one.name, apart=apart):
            keys = node.keys if isinstance(node, MapNode) else {}
            faults.add(keys.get(key, entries.keys[other.name]), reason)
