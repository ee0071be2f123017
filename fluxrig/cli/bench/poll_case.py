"""What `fluxrig bench poll` polls: devices of float32 tags, their registers, and their Rack file. Pure."""

from __future__ import annotations

import math
import struct
from dataclasses import asdict, dataclass
from typing import Any, Final

from fluxrig.duration import format_duration

RACK: Final = "bench"
UNS: Final = "bench/poll"
PHASES: Final = 8
"""How many different pictures of its registers a device shows, one after another."""
HOLE: Final = b"\xff\xff\xff\xff"
"""What stands where there is no tag: as a float32 it is no number, so that it is never taken for a value."""
TENTHS: Final = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One load: `connections` devices with `tags` float32 tags each, all polled every `every_s`."""

    name: str
    connections: int
    tags: int
    every_s: float
    holes: int = 0
    """How many tenths of the places for a tag are empty."""

    @property
    def all_tags(self) -> int:
        return self.connections * self.tags

    @property
    def period_ns(self) -> int:
        return round(self.every_s * 1e9)

    def __str__(self) -> str:
        load = f"{self.connections} x {self.tags} tags every {format_duration(self.every_s)}"
        return f"{load}, {self.holes * TENTHS} % holes" if self.holes else load


CASES: Final = {
    case.name: case
    for case in (
        Case("plain", 10, 1000, 0.1),
        Case("holes", 10, 1000, 0.1, holes=3),
        Case("fast", 1, 100, 0.01),
    )
}


def addresses(case: Case) -> list[int]:
    """Give the address of each tag: two registers each, in rising order, the holes spread evenly."""
    places: list[int] = []
    slot = 0
    while len(places) < case.tags:
        if slot * 3 % TENTHS >= case.holes or slot == 0:
            places.append(2 * slot)
        slot += 1
    return places


def value(connection: int, tag: int, phase: int) -> float:
    """Give what a tag is in a phase: a float32 that no other tag of any device ever is."""
    turn = math.sin(phase * math.tau / PHASES) * 0.3
    packed: float = struct.unpack(">f", struct.pack(">f", connection * 1009.0 + tag + 0.35 + turn))[0]
    return packed


def registers(case: Case, connection: int, phase: int) -> bytes:
    """Give a device's holding registers from address 0, two bytes each."""
    places = addresses(case)
    table = bytearray(HOLE * (places[-1] // 2 + 1))
    for tag, place in enumerate(places):
        struct.pack_into(">f", table, 2 * place, value(connection, tag, phase))
    return bytes(table)


def tag_name(tag: int) -> str:
    return f"tag{tag:04}"


def gear_name(connection: int) -> str:
    return f"device{connection:02}"


def rack_file(case: Case, ports: list[int]) -> dict[str, Any]:
    """Give the Rack file that polls the devices at these ports into the leaf's stream."""
    tags = {
        tag_name(tag): {"at": f"holding/{place}", "type": "float32"}
        for tag, place in enumerate(addresses(case))
    }
    gear = {"kind": "io_modbus", "every": format_duration(case.every_s), "tags": tags}
    names = [gear_name(connection) for connection in range(case.connections)]
    return {
        "rack": RACK,
        "uns": UNS,
        "gears": {
            name: {**gear, "endpoint": f"tcp://127.0.0.1:{port}"}
            for name, port in zip(names, ports, strict=True)
        },
        "wires": [f"{name} -> uplink" for name in names],
    }


def from_facts(facts: dict[str, Any]) -> Case:
    """Make a case of what `to_facts` gave."""
    return Case(**facts)


def to_facts(case: Case) -> dict[str, Any]:
    return asdict(case)
