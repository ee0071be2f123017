"""A Rack as a Mermaid flowchart."""

from __future__ import annotations

from fluxrig.gear import IN, OUT
from fluxrig.rackfile.model import UPLINK, RackSpec, WireSpec


def mermaid(spec: RackSpec) -> str:
    """Give the flowchart. Nodes are numbered, since a gear may be called `end` or another word of Mermaid."""
    ids = {name: f"g{index}" for index, name in enumerate([*spec.gears, UPLINK])}
    lines = ["flowchart LR"]
    lines += [f'    {ids[gear.name]}["{gear.name}<br/>{gear.kind}"]' for gear in spec.gears.values()]
    if any(UPLINK in (wire.source.gear, wire.target.gear) for wire in spec.wires):
        lines.append(f'    {ids[UPLINK]}[("{UPLINK}")]')
    lines += [_arrow(wire, ids) for wire in spec.wires]
    return "\n".join(lines) + "\n"


def _arrow(wire: WireSpec, ids: dict[str, str]) -> str:
    ports = [wire.source.port] if wire.source.port != OUT else []
    ports += [f"to {wire.target.port}"] if wire.target.port != IN else []
    ports += ["drop oldest"] if wire.when_full == "drop_oldest" else []
    label = f'|"{", ".join(ports)}"|' if ports else ""
    return f"    {ids[wire.source.gear]} -->{label} {ids[wire.target.gear]}"
