"""What takes the ADUs that framing finds."""

from __future__ import annotations

from typing import Protocol

from gears.network_sniffer.modbus.frame import Adu


class Listener(Protocol):
    """A conversation, as the framing of its two sides sees it."""

    def client_side(self) -> int | None:
        """Which side asks, once that is known."""

    def recognises(self, side: int, adu: Adu, *, alone: bool) -> bool:
        """Whether this is Modbus, asked where alignment is not certain. `alone`: it fills its segment."""

    def adu(self, side: int, adu: Adu) -> None: ...

    def late(self, side: int, adu: Adu, position: int) -> None:
        """Take an ADU that was captured after what follows it; `position` is its end in the stream."""

    def violation(self, side: int, code: str, data: bytes, ts: int) -> None: ...

    def gap(self, side: int, lost: int, *, cut: bool) -> None: ...
