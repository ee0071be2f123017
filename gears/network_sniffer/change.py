"""A register or coil that is not what it was, and the data of `ot.value/1` that tells it. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from fluxrig.cbor import OPEN, pieces
from fluxrig.cbor.encoder import INTEGERS, integer
from fluxrig.modbus.tag import Value
from gears.network_sniffer.devices import Device, Named
from gears.network_sniffer.flow import Flow, end_fields

_BOOLS: Final = {True: b"\xf5", False: b"\xf4"}


class Change(NamedTuple):
    """A value that is not what it was."""

    table: str
    address: int
    old: Value | None
    new: Value
    cause: str
    """`read`: seen so; `write`: a write that was confirmed."""
    named: Named | None = None
    device: Device | None = None

    def fields(self, flow: Flow, unit: int, frame: int) -> dict[str, Any]:
        """Give the data of `ot.value/1`."""
        fields: dict[str, Any] = {
            "server": end_fields(flow.server),
            "unit": unit,
            "table": self.table,
            "address": self.address,
            "new": self.new,
            "cause": self.cause,
            "frame": frame,
        }
        if self.old is not None:
            fields["old"] = self.old
        if self.cause == "write":
            fields["client"] = {"ip": flow.client[0]}
        if self.named is not None:
            fields["name"], fields["type"] = self.named.tag.name, self.named.tag.type
        return fields

    def meta(self) -> dict[str, str]:
        """Give the unit of a tag's value, as a poller's `meta` has it."""
        named = self.named
        return {f"unit.{named.tag.name}": named.unit} if named is not None and named.unit else {}

    def encode(self, flow: Flow, unit: int, frame: int) -> tuple[bytes, ...] | None:
        """Give the same as CBOR, in parts, if this is a register or bit without a name that had a value."""
        old, new = self.old, self.new
        if self.named is not None or not (type(old) is type(new) is int or type(old) is type(new) is bool):
            return None
        client = flow.client[0] if self.cause == "write" else ""
        a, b, c, d, e = _around(*flow.server, unit, self.table, self.cause, client)
        encoded = _BOOLS if type(new) is bool else INTEGERS
        return a, encoded[new], b, encoded[old], c, integer(frame), d, integer(self.address), e  # type: ignore[index]


@lru_cache(4096)
def _around(ip: str, port: int, unit: int, table: str, cause: str, client: str) -> list[bytes]:  # noqa: PLR0917
    """Give the encoding of a change around new and old value, frame and address."""
    server = {"ip": ip, "port": port}
    fields: dict[str, Any] = {"server": server, "unit": unit, "table": table, "cause": cause}
    if client:
        fields["client"] = {"ip": client}
    return pieces({**fields, "new": OPEN, "old": OPEN, "frame": OPEN, "address": OPEN})
