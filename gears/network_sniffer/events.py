"""The messages that the sniffer makes, with ids that a replay of the same capture repeats."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

from fluxrig.cbor import OPEN, pieces
from fluxrig.codec import Carried
from fluxrig.message import TAGS, FluxMsg

TRANSACTION: Final = "ot.transaction/1"
ANOMALY: Final = "ot.anomaly/1"
CAPTURE: Final = "ot.capture/1"
VALUE: Final = "ot.value/1"
ASSET: Final = "ot.asset/1"
LINK: Final = "ot.link/1"
KINDS: Final = {
    "transaction": TRANSACTION,
    "value": VALUE,
    "tags": TAGS,
    "anomaly": ANOMALY,
    "asset": ASSET,
    "link": LINK,
    "capture": CAPTURE,
}
"""The kinds of events by the names that a configuration has for them."""
ALL: Final = frozenset(KINDS.values())

_place: Final = struct.Struct(">QQQ").pack
_u64: Final = struct.Struct(">Q").pack
_COUNTED: Final = 0xFFF
"""How far an id counts the messages of a frame before it takes another digest."""


def _digest_of(capture: blake2b, ts: int, frame: int, index: int) -> int:
    """Give the lower half of a UUIDv8: the variant, and a digest of the capture and the frame in it.

    `ts` is that of the first message that came of the frame, `index` the number of the message it is for.
    """
    digest = capture.copy()
    digest.update(_place(ts, frame, index))
    return 2 << 62 | int.from_bytes(digest.digest()) >> 2


def _uuid8(ts: int, index: int, digest: int) -> bytes:
    """Give a UUIDv8 (RFC 9562 §5.8) that sorts by the millisecond of `ts`."""
    return (ts // 1_000_000 << 80 | 0x8000 << 64 | (index & _COUNTED) << 64 | digest).to_bytes(16)


class Recorder:
    """Collects the messages of one capture. `frame` is the number of the frame at hand, from 1."""

    def __init__(self, src: str, uns: str, identity: bytes, schemas: frozenset[str] = ALL) -> None:
        """`schemas` are those that are made into messages; the others are only counted."""
        self.messages: list[FluxMsg] = []
        self.frame = 0
        self.made = 0
        self.anomalies = 0
        self._src = src
        self._uns = uns
        self._capture = blake2b(identity, digest_size=8)
        self._digest = 0
        self._schemas = schemas
        self._around = {schema: _around(src, uns, schema, referring=False) for schema in ALL}
        self._around_referring = {schema: _around(src, uns, schema, referring=True) for schema in ALL}
        self._last_frame = 0
        self._index = 0

    def wants(self, schema: str) -> bool:
        return schema in self._schemas

    def event(
        self,
        schema: str,
        ts: int,
        data: Mapping[str, Any],
        *,
        uns: str | None = None,
        meta: Mapping[str, str] | None = None,
        ref: bytes | None = None,
    ) -> bytes | None:
        """Add a message; `ts` is when what it tells was true on the wire. Gives its id if it was made."""
        ident = self._identify(schema, ts)
        if ident is None:
            return None
        message = {
            "id": ident,
            "ts": ts,
            "src": self._src,
            "uns": uns or self._uns,
            "schema": schema,
            "data": data,
        }
        if meta:
            message["meta"] = meta
        if ref:
            message["ref"] = ref
        self.made += 1
        self.messages.append(FluxMsg.from_fields(message))
        return ident

    def encoded(self, schema: str, ts: int, data: Iterable[bytes], ref: bytes | None = None) -> bytes | None:
        """Add a message whose data is encoded already, in parts; `ts` is 2³² or later. Else as `event`."""
        ident = self._identify(schema, ts)
        if ident is None:
            return None
        if ref is None:
            to_id, to_ts, to_data, after = self._around[schema]
            parts = [to_id, ident, to_ts, _u64(ts), to_data, *data, after]
        else:
            to_id, to_ts, to_ref, to_data, after = self._around_referring[schema]
            parts = [to_id, ident, to_ts, _u64(ts), to_ref, ref, to_data, *data, after]
        self.made += 1
        self.messages.append(Carried(b"".join(parts), self._uns))
        return ident

    def _identify(self, schema: str, ts: int) -> bytes | None:
        """Give the next id, or None where nobody wants the message.

        It takes its number all the same, so that ids do not depend on what is wanted.
        """
        if self.frame != self._last_frame:
            self._last_frame, self._index = self.frame, 0
        index = self._index
        self._index = index + 1
        if not index & _COUNTED:
            self._digest = _digest_of(self._capture, ts, self.frame, index)
        return _uuid8(ts, index, self._digest) if schema in self._schemas else None

    def anomaly(self, ts: int, code: str, severity: str, detail: str, **evidence: Any) -> None:
        """Add an `ot.anomaly/1`."""
        self.anomalies += 1
        data = {"code": code, "severity": severity, "detail": detail, "frame": self.frame, **evidence}
        self.event(ANOMALY, ts, data)

    def take(self) -> list[FluxMsg]:
        """Give the messages since the last call."""
        messages, self.messages = self.messages, []
        return messages


def _around(src: str, uns: str, schema: str, *, referring: bool) -> list[bytes]:
    """Give the encoding of a message around its id, time, what it refers to, and its data."""
    fields = {"id": OPEN, "ts": OPEN, "src": src, "uns": uns, "data": OPEN, "schema": schema}
    to_id, to_ts, *others = pieces({**fields, "ref": OPEN} if referring else fields)
    if referring:
        others[0] += _UUID
    return [to_id + _UUID, to_ts + _U64, *others]


_UUID: Final = b"\x50"
"""The head of sixteen bytes."""
_U64: Final = b"\x1b"
"""The head of an integer of eight bytes."""

MAX_COUNTED: Final = 65_536
"""Different anomalies that are counted; then counting begins anew."""


class Repeats:
    """Which occurrences of an anomaly are worth a message: the first ones, the 10th, 100th and so on."""

    __slots__ = ("_counts", "_first")

    def __init__(self, first: int = 1) -> None:
        self._first = first
        self._counts: dict[str, int] = {}

    def count(self, code: str) -> int | None:
        """Count one more; give the count when it is worth telling."""
        if len(self._counts) >= MAX_COUNTED:
            self._counts.clear()
        count = self._counts[code] = self._counts.get(code, 0) + 1
        return count if count <= self._first or str(count).rstrip("0") == "1" else None
