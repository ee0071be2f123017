"""Devices whose registers have names: which tag stands where, and on which UNS path it belongs. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fluxrig.modbus.decode import MeaninglessError, decode_value
from fluxrig.modbus.tag import Tag, Value

Place: TypeAlias = tuple[str, int, int]
"""IP address, port, unit."""


@dataclass(frozen=True, slots=True)
class Named:
    """A tag of a device, with the unit of its value."""

    tag: Tag
    unit: str | None


@dataclass(frozen=True, slots=True)
class Device:
    """A device's tags by table, and the UNS path of its values."""

    uns: str
    tables: Mapping[str, Sequence[Named]] = field(default_factory=dict)


Devices: TypeAlias = Mapping[Place, Device]


def tag_value(tag: Tag, values: Sequence[int], start: int) -> Value | None:
    """Give a tag's value from values that begin at address `start`; None when they say nothing in its type.

    `values` are registers, or bits of a bit table, and cover the tag.
    """
    own = values[tag.start - start : tag.end - start]
    if tag.type == "bool" and tag.at.bit is None:
        return bool(own[0])
    try:
        return decode_value(tag, struct.pack(f">{len(own)}H", *own))
    except MeaninglessError:
        return None
