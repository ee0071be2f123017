"""The graph of a Rack: wires between ports that exist, every gear of use, no loop that can stand still."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from fluxrig.gear import ERROR_PORT, IN, OUT, Manifest
from fluxrig.rackfile.faults import Faults, Mark, shown
from fluxrig.rackfile.model import UPLINK, Endpoint, WireSpec

_STOP: Final = re.compile(r"\s*([^\s.]+)(?:\.([^\s.]+))?\s*")
_SHOWN_LOOP: Final = 8
_Names: TypeAlias = tuple[str, ...] | None
Side: TypeAlias = Literal["input", "output"]
Suggest: TypeAlias = Callable[[str, Iterable[str]], str]


@dataclass(frozen=True, slots=True)
class Ports:
    """What a gear offers to wires; None where its kind is unknown and any port may be right."""

    inputs: tuple[str, ...] | None
    outputs: tuple[str, ...] | None
    source: bool

    @classmethod
    def of(cls, manifest: Manifest | None) -> Ports:
        if manifest is None:
            return cls(None, None, source=True)
        return cls(manifest.inputs, (*manifest.outputs, ERROR_PORT), manifest.source)


UPLINK_PORTS: Final = Ports((IN,), (ERROR_PORT,), source=False)
_ANY: Final = Ports(None, None, source=True)


@dataclass(frozen=True, slots=True)
class PlacedWire:
    """A wire, and where the file says it."""

    mark: Mark
    spec: WireSpec


def chain(text: str, ports: Mapping[str, Ports]) -> list[tuple[Endpoint, Endpoint]]:
    """Give the wires of `a -> b.port -> c`. Raises ValueError that says what to write.

    In the middle of a chain a port counts for the side that it is on: `a -> b.low -> c` leaves `b` by its
    output `low` and enters it by `in`.
    """
    stops = [_stop(part) for part in text.split("->")]
    if len(stops) < 2:
        raise ValueError(f"{shown(text)} is no wire; write from -> to, such as press -> {UPLINK}")
    last = len(stops) - 1
    wires = []
    for index, ((gear, port), (to_gear, to_port)) in enumerate(pairwise(stops)):
        have, to_have = ports.get(gear, _ANY), ports.get(to_gear, _ANY)
        leaves = _side(port, OUT, have.outputs, have.inputs, at_end=index == 0)
        enters = _side(to_port, IN, to_have.inputs, to_have.outputs, at_end=index + 1 == last)
        wires.append((Endpoint(gear, leaves), Endpoint(to_gear, enters)))
    return wires


def _stop(text: str) -> tuple[str, str | None]:
    match = _STOP.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text.strip())} is no end of a wire; write gear or gear.port")
    return match[1], match[2]


def _side(port: str | None, default: str, mine: _Names, other: _Names, *, at_end: bool) -> str:
    if port is None:
        return default
    belongs_there = port in (other or ()) and port not in (mine or ())
    return default if belongs_there and not at_end else port


def end_fault(end: Endpoint, side: Side, ports: Mapping[str, Ports], suggest: Suggest) -> str | None:
    """Say why a wire cannot end there, or None."""
    if end.gear not in ports:
        return f"there is no gear {shown(end.gear)}{suggest(end.gear, ports)}"
    names = ports[end.gear].inputs if side == "input" else ports[end.gear].outputs
    if names is None or end.port in names:
        return None
    if not names:
        return f"{end.gear!r} has no input: it is a source"
    if end.port == OUT and names == (ERROR_PORT,):
        return f"{end.gear!r} has no output but {ERROR_PORT!r}: it is a sink"
    hint = suggest(end.port, names).replace("known:", "it has:")
    return f"{end.gear!r} has no {side} {shown(end.port)}{hint}"


def duplicates(wires: Iterable[PlacedWire], faults: Faults) -> None:
    """Add a fault for each wire that repeats an earlier one."""
    seen: dict[tuple[Endpoint, Endpoint], Mark] = {}
    for wire in wires:
        ends = (wire.spec.source, wire.spec.target)
        if ends in seen:
            message = (
                f"the wire {ends[0]} -> {ends[1]} is already at line {seen[ends].line}; keep one of them"
            )
            faults.add(wire.mark, message)
        seen.setdefault(ends, wire.mark)


def idle_gears(
    wires: Sequence[PlacedWire], ports: Mapping[str, Ports], marks: Mapping[str, Mark], faults: Faults
) -> None:
    """Add a fault for each gear that nothing reaches, or whose output goes nowhere."""
    fed = {wire.spec.target.gear for wire in wires}
    feeding = {wire.spec.source.gear for wire in wires if wire.spec.source.port != ERROR_PORT}
    touched = fed | {wire.spec.source.gear for wire in wires}
    reached = _reached(wires, ports)
    for name, mark in marks.items():
        has = ports[name]
        if name not in touched:
            faults.add(mark, f"nothing is wired to {name!r}; add it to wires, or remove it")
            continue
        if name not in reached:
            faults.add(mark, f"nothing reaches {name!r}: no path leads to it from a gear that makes messages")
        used_as_writer = has.source and name in fed
        if has.outputs not in (None, (ERROR_PORT,)) and name not in feeding and not used_as_writer:
            faults.add(mark, f"what {name!r} puts out goes nowhere; add a wire such as {name} -> {UPLINK}")


def _reached(wires: Sequence[PlacedWire], ports: Mapping[str, Ports]) -> set[str]:
    after: dict[str, list[str]] = {}
    for wire in wires:
        after.setdefault(wire.spec.source.gear, []).append(wire.spec.target.gear)
    reached = {name for name, has in ports.items() if has.source}
    waiting = list(reached)
    while waiting:
        new = set(after.get(waiting.pop(), ())) - reached
        reached |= new
        waiting += new
    return reached


def loops(wires: Sequence[PlacedWire], faults: Faults) -> None:
    """Add a fault for each wire that closes a loop of wires that all block."""
    after: dict[str, list[PlacedWire]] = {}
    for wire in wires:
        if wire.spec.when_full == "block":
            after.setdefault(wire.spec.source.gear, []).append(wire)
    done: set[str] = set()
    for start in after:
        if start not in done:
            _walk(start, after, done, faults)


def _walk(start: str, after: Mapping[str, list[PlacedWire]], done: set[str], faults: Faults) -> None:
    """Go through the graph in depth; a wire back to a gear on the way closes a loop."""
    way = {start: iter(after[start])}
    while way:
        name, coming = next(reversed(way.items()))
        wire = next(coming, None)
        if wire is None:
            done.add(name)
            del way[name]
        elif (target := wire.spec.target.gear) in way:
            faults.add(wire.mark, _loop_fault(target, list(way)))
        elif target not in done:
            way[target] = iter(after.get(target, ()))


def _loop_fault(target: str, way: list[str]) -> str:
    names = way[way.index(target) :]
    path = " -> ".join([*names[:_SHOWN_LOOP], *(["…"] if len(names) > _SHOWN_LOOP else []), target])
    return (
        f"{path} is a loop: wires that block can stop each other for ever; "
        "give one of them its bound with {wire: …, queue: 1000, when_full: drop_oldest}"
    )
