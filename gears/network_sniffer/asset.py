"""What is known of an asset, that is, of one IP address, and from which frame each thing is known. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MAX_UNITS: Final = 256
IDENTITIES: Final = {"0": "vendor", "1": "product", "2": "firmware", "4": "name", "5": "model"}
"""The objects of Modbus function 43/14 (section 6.21) and the fields that they fill."""


class Asset:
    """One IP address that takes part in OT traffic."""

    __slots__ = (
        "_changed",
        "evidence",
        "fields",
        "first_ts",
        "ip",
        "last_ts",
        "macs",
        "protocols",
        "roles",
        "units",
    )

    def __init__(self, ip: str, ts: int, changed: dict[str, Asset]) -> None:
        """`changed` is where it enters itself when something new is known of it."""
        self.ip = ip
        self.first_ts = self.last_ts = ts
        self.macs: set[str] = set()
        self.roles: set[str] = set()
        self.protocols: set[str] = set()
        self.units: set[int] = set()
        self.fields: dict[str, str] = {}
        self.evidence: dict[str, dict[str, Any]] = {}
        self._changed = changed

    def note(self, kind: str, value: str | int, frame: int, ts: int, by: str) -> None:
        """Note a MAC address, role, protocol or unit, with the frame that first showed it."""
        known: set[Any] = getattr(self, kind)
        if value in known or len(known) >= MAX_UNITS:
            return
        known.add(value)
        self._prove(f"{kind}.{value}", frame, ts, by)

    def identify(self, unit: int, objects: Mapping[str, str], frame: int, ts: int) -> None:
        """Note what a device says of itself. The first unit that tells a thing speaks for the asset."""
        for number, text in objects.items():
            name = IDENTITIES.get(number)
            if name and text and name not in self.fields:
                self.fields[name] = text
                self._prove(name, frame, ts, f"device identification of unit {unit}")

    def _prove(self, name: str, frame: int, ts: int, by: str) -> None:
        self.evidence[name] = {"frame": frame, "ts": ts, "by": by}
        self._changed[self.ip] = self

    def data(self) -> dict[str, Any]:
        """Give the data of `ot.asset/1`."""
        fields = dict(self.fields)
        if "model" not in fields and "product" in fields:
            fields["model"] = fields["product"]
        return {
            "addresses": {"ip": self.ip, "mac": sorted(self.macs)},
            "roles": sorted(self.roles),
            "protocols": sorted(self.protocols),
            "units": sorted(self.units),
            **fields,
            "first_seen": self.first_ts,
            "last_seen": self.last_ts,
            "evidence": dict(self.evidence),
        }
