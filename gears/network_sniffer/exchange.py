"""Exchanges as they repeat: what they say, decoded and encoded once, around what is new each time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, Final, TypeAlias

from fluxrig.cbor import OPEN, Fixed, pieces
from fluxrig.cbor.encoder import INTEGERS, integer

MODERN_NS: Final = 1 << 32
"""Times from here on, four seconds after 1970, take eight bytes as an integer of CBOR."""

Seen: TypeAlias = tuple[int, int]
"""When something was on the wire, ns since the Unix epoch, and the number of its frame."""

Shown: TypeAlias = tuple[str, int, Sequence[int]]
"""Table, address, and what stands there."""

_u64: Final = Struct(">Q").pack


class Gist:
    """What an exchange says, apart from who took part and when."""

    __slots__ = (
        "certain",
        "exception",
        "fields",
        "objects",
        "outcome",
        "place",
        "poll",
        "reading",
        "refused",
        "writing",
    )

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """`fields` are data of `ot.transaction/1`: those that are the same when it is repeated, at least."""
        target, fc = fields["target"], fields["op"]["fc"]
        get, unit, status = target.get, target["unit"], fields["status"]
        table, address, values = get("table"), get("address"), fields.get("read", {}).get("values")
        write = fields.get("write", {})
        written_to, written = write.get("address", address), write.get("values")
        self.fields = fields
        self.place: tuple[int, int] = (unit, fc)
        self.outcome: tuple[int, str] = (fc, status)
        self.poll = unit, fc, table, address, get("quantity")
        self.reading: Shown | None = None if values is None or address is None else (table, address, values)
        self.writing: Shown | None = (
            None if written is None or written_to is None else (table, written_to, written)
        )
        self.certain = status == "ok" and "pairing" not in fields
        """Whether request and response belong together for sure, and what they say has come to be."""
        self.refused = status == "exception"
        self.exception: int | None = fields["exception"]["code"] if "exception" in fields else None
        self.objects: Mapping[str, str] | None = fields.get("identification", {}).get("objects")


class Usual(Gist):
    """The gist of an exchange with a request, its transaction id, and the response: encoded beforehand."""

    __slots__ = ("_pieces",)

    def __init__(self, fields: Mapping[str, Any], asked: int, answered: int) -> None:
        """`asked` and `answered` are the lengths of request and response as events tell them."""
        super().__init__(fields)
        template = {
            **fields,
            "tid": OPEN,
            "flow": OPEN,
            "request": {"ts": OPEN, "frame": OPEN, "length": asked},
            "response": {"ts": OPEN, "frame": OPEN, "length": answered},
            "latency_us": OPEN,
        }
        before, tid, flow, asked_ts, asked_frame, answered_ts, answered_frame, after = pieces(template)
        self._pieces = (
            before,
            tid,
            flow + _U64,
            asked_ts,
            asked_frame + _U64,
            answered_ts,
            answered_frame,
            after,
        )

    def encode(self, flow: Fixed, tid: int, asked: Seen, answered: Seen) -> tuple[bytes, ...]:
        """Give the data of `ot.transaction/1` as CBOR, in parts. Both times are `MODERN_NS` or later."""
        before, a, b, c, d, e, f, after = self._pieces
        asked_ts, asked_frame = asked
        ts, frame = answered
        return (
            before,
            INTEGERS[tid],
            a,
            flow.encoding,
            b,
            _u64(asked_ts),
            c,
            integer(asked_frame),
            d,
            _u64(ts),
            e,
            integer(frame),
            f,
            integer((ts - asked_ts) // 1000),
            after,
        )


_U64: Final = b"\x1b"
"""The head of an integer of eight bytes."""
