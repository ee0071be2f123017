"""Where a server is, as people write it: `host`, `host:port`, `[ipv6]:port`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A host name or IP address without brackets, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Address:
        """Raises ValueError. Without `default_port` the port must be there."""
        match = _FORM.fullmatch(text)
        port = int(match["port"] or default_port or 0) if match else 0
        if match is None or not 0 < port < 65_536:
            raise ValueError(f"{text[:80]!r} is not host:port")
        return cls(match["host"].strip("[]"), port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
