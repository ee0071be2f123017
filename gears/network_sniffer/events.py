"""The messages that the sniffer makes, with ids that a replay of the same capture repeats."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any, Final

from fluxrig.message import FluxMsg

TRANSACTION: Final = "ot.transaction/1"
ANOMALY: Final = "ot.anomaly/1"
CAPTURE: Final = "ot.capture/1"

_place: Final = struct.Struct(">QQQ").pack


def capture_id(identity: bytes, ts: int, frame: int, index: int) -> bytes:
    """Derive a UUIDv8 (RFC 9562 §5.8): the millisecond of `ts`, so that ids sort by time, then a digest.

    `identity` stands for the capture; `index` counts the messages that came of one frame.
    """
    digest = hashlib.blake2b(_place(ts, frame, index), digest_size=10, key=identity).digest()
    value = (ts // 1_000_000 & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(digest)
    return (value & ~(0xF << 76 | 0x3 << 62) | 0x8 << 76 | 0x2 << 62).to_bytes(16)


class Recorder:
    """Collects the messages of one capture. `frame` is the number of the frame at hand, from 1."""

    def __init__(self, src: str, uns: str, identity: bytes) -> None:
        self.messages: list[FluxMsg] = []
        self.frame = 0
        self.made = 0
        self.anomalies = 0
        self._src = src
        self._uns = uns
        self._identity = identity
        self._last_frame = 0
        self._index = 0

    def event(self, schema: str, ts: int, data: Mapping[str, Any]) -> None:
        """Add a message; `ts` is when what it tells was true on the wire."""
        if self.frame != self._last_frame:
            self._last_frame, self._index = self.frame, 0
        message = {
            "id": capture_id(self._identity, ts, self.frame, self._index),
            "ts": ts,
            "src": self._src,
            "uns": self._uns,
            "schema": schema,
            "data": data,
        }
        self._index += 1
        self.made += 1
        self.messages.append(FluxMsg.from_fields(message))

    def anomaly(self, ts: int, code: str, severity: str, detail: str, **evidence: Any) -> None:
        """Add an `ot.anomaly/1`."""
        self.anomalies += 1
        data = {"code": code, "severity": severity, "detail": detail, "frame": self.frame, **evidence}
        self.event(ANOMALY, ts, data)

    def take(self) -> list[FluxMsg]:
        """Give the messages since the last call."""
        messages, self.messages = self.messages, []
        return messages


class Repeats:
    """Which occurrences of the same anomaly are worth a message: the 1st, 10th, 100th and so on."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, code: str) -> int | None:
        """Count one more; give the count when it is worth telling."""
        count = self._counts[code] = self._counts.get(code, 0) + 1
        return count if str(count).rstrip("0") == "1" else None
