"""fluxMsg: the one message of fluxrig, as `fluxmsg.cddl` defines it.

A FluxMsg wraps the map that is encoded, so decoding a message builds one dict and nothing else. It is
immutable by contract: nothing in fluxrig writes into a message or its fields after it was made, which is
what lets fan-out share one object between gears.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

TAGS: Final = "fluxrig.tags/1"
EVENT: Final = "fluxrig.event/1"
ERROR: Final = "fluxrig.error/1"

OFFLINE: Final = 1
"""Bit of `flags`: the Rack accepted the message while it had no contact with the Mixer."""

REQUIRED: Final = ("id", "ts", "src", "uns", "schema")
OPTIONAL: Final = ("data", "meta", "raw", "ref", "trace", "path", "flags")


class FluxMsg:
    """One reading, event or transaction. Fields at their default are absent from `fields`."""

    __slots__ = ("fields",)

    fields: dict[str, Any]

    def __init__(
        self,
        *,
        id: bytes,
        ts: int,
        src: str,
        uns: str,
        schema: str,
        data: Mapping[str, Any] | None = None,
        meta: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        ref: bytes | None = None,
        trace: bytes | None = None,
        path: Sequence[Sequence[str | int]] | None = None,
        flags: int = 0,
    ) -> None:
        fields: dict[str, Any] = {"id": id, "ts": ts, "src": src, "uns": uns, "schema": schema}
        if data:
            fields["data"] = data
        if meta:
            fields["meta"] = meta
        if raw:
            fields["raw"] = raw
        if ref:
            fields["ref"] = ref
        if trace:
            fields["trace"] = trace
        if path:
            fields["path"] = path
        if flags:
            fields["flags"] = flags
        self.fields = fields

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> FluxMsg:
        """Wrap a map that is already known to have the message's shape. It is not copied."""
        message = cls.__new__(cls)
        message.fields = fields
        return message

    @property
    def id(self) -> bytes:
        return self.fields["id"]  # type: ignore[no-any-return]

    @property
    def ts(self) -> int:
        """When the value was true at its source, ns since the Unix epoch."""
        return self.fields["ts"]  # type: ignore[no-any-return]

    @property
    def src(self) -> str:
        """`<rack>/<gear>`."""
        return self.fields["src"]  # type: ignore[no-any-return]

    @property
    def uns(self) -> str:
        return self.fields["uns"]  # type: ignore[no-any-return]

    @property
    def schema(self) -> str:
        return self.fields["schema"]  # type: ignore[no-any-return]

    @property
    def data(self) -> Mapping[str, Any]:
        return self.fields.get("data", _EMPTY)  # type: ignore[no-any-return]

    @property
    def meta(self) -> Mapping[str, str]:
        return self.fields.get("meta", _EMPTY)  # type: ignore[no-any-return]

    @property
    def raw(self) -> bytes:
        return self.fields.get("raw", b"")  # type: ignore[no-any-return]

    @property
    def ref(self) -> bytes | None:
        """The id of the message that this one answers or derives from."""
        return self.fields.get("ref")

    @property
    def trace(self) -> bytes | None:
        """W3C trace id (16 bytes) and span id (8 bytes)."""
        return self.fields.get("trace")

    @property
    def path(self) -> Sequence[Sequence[str | int]]:
        """The hops so far: `[["<rack>/<gear>", ns], …]`."""
        return self.fields.get("path", ())  # type: ignore[no-any-return]

    @property
    def flags(self) -> int:
        return self.fields.get("flags", 0)  # type: ignore[no-any-return]

    def replace(self, **changes: Any) -> FluxMsg:
        """Give a copy with some fields changed; a field set to its default is left out."""
        return FluxMsg(**{**self.fields, **changes})

    def __eq__(self, other: object) -> bool:
        return self.fields == other.fields if isinstance(other, FluxMsg) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fields["id"])

    def __repr__(self) -> str:
        return f"FluxMsg({', '.join(f'{name}={value!r}' for name, value in self.fields.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (FluxMsg.from_fields, (self.fields,))


_EMPTY: Final[Mapping[str, Any]] = {}


class IdMaker:
    """UUIDv7 (RFC 9562 §5.7) that only grow, also within one millisecond (§6.2, method 2).

    The 74 bits behind the millisecond are a random number, of which the last 62 are counted up by a random
    step, so ids made by different machines in the same millisecond do not meet.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms = -1
        self._head = 0
        self._tail = 0

    def __call__(self, now_ns: int) -> bytes:
        """Make the id of a message made at `now_ns`; a clock that steps back keeps the last millisecond."""
        ms = max(0, now_ns // 1_000_000)
        with self._lock:
            if ms > self._ms:
                self._begin(ms)
            else:
                self._tail += 1 + self._tail % 251
            head, tail = self._head, self._tail
        if tail >> 62:
            raise OverflowError("too many ids in one millisecond")
        return (head | tail).to_bytes(16)

    def _begin(self, ms: int) -> None:
        """Start a millisecond: draw what stands before the counter, and where that begins."""
        drawn = int.from_bytes(os.urandom(10))
        self._ms = ms
        self._head = ms << 80 | 7 << 76 | (drawn >> 62 & 0xFFF) << 64 | 0b10 << 62
        self._tail = drawn & (1 << 61) - 1


new_id: Final = IdMaker()
