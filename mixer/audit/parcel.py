"""One message that the hub stored, taken apart: it carries one fluxMsg or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fluxrig.bus import Stored
from fluxrig.codec import decode_sequence_strict
from mixer.audit.origin import Marks, Origin, origin


@dataclass(slots=True)
class Parcel:
    """What has rows (`fields` and `cbor`, message by message), and why the rest has none (`reason`)."""

    stored: Stored
    origin: Origin
    first: int | None = None
    """The number at its leaf of the first message here."""
    fields: Sequence[dict[str, Any]] = ()
    cbor: Sequence[bytes] = ()
    reason: str = field(default="")


def unpack(stored: Stored, marks: Marks) -> Parcel:
    """Take one stored message apart; `marks` moves on. Whatever it holds, this does not raise."""
    where = origin(stored)
    try:
        pairs = decode_sequence_strict(stored.payload)
    except Exception as error:  # noqa: BLE001 - a message may be anything; the ones behind it must go on
        marks.repeated(where, where.messages)
        return Parcel(stored, where, reason=f"{type(error).__name__}: {error}")
    repeated = marks.repeated(where, len(pairs))
    reason = f"{repeated} of {len(pairs)} messages came before" if repeated else ""
    first = None if where.leaf_seq is None else where.leaf_seq + repeated
    fields = [message.fields for message, _ in pairs[repeated:]]
    return Parcel(stored, where, first, fields, [cbor for _, cbor in pairs[repeated:]], reason)


def set_aside(parcel: Parcel, reason: str) -> Parcel:
    """Give a parcel that has no rows but that of the quarantine."""
    return Parcel(parcel.stored, parcel.origin, reason=reason)
