"""One message that the hub stored, and the fluxMsgs that it carries: one or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluxrig.bus import Stored
from fluxrig.codec import decode_sequence_strict
from mixer.audit.belonging import claim_fault, message_fault
from mixer.audit.bulk.decode import Decoded, decode
from mixer.audit.bulk.pieces import Pieces, cut
from mixer.audit.derived import EVENTS
from mixer.audit.origin import Marks, Origin, origin


@dataclass(slots=True)
class Parcel:
    """Where in its payload the messages end, how many of them came before, and why the rest has no rows."""

    stored: Stored
    origin: Origin
    ends: Any
    """Offsets in the payload, int64."""
    repeated: int = 0
    reason: str = ""
    forged: bool = False
    """Whether no leaf that does as it should would have given it to the hub."""

    @property
    def rows(self) -> int:
        return len(self.ends) - self.repeated

    @property
    def first(self) -> int | None:
        """The number at its leaf of the first message that has a row."""
        return None if self.origin.leaf_seq is None else self.origin.leaf_seq + self.repeated

    def count(self, marks: Marks) -> None:
        """Take its numbers; what came before gets no row."""
        if fault := marks.fault(self.origin):
            self.disown(fault)
            return
        messages = len(self.ends) or self.origin.messages
        self.repeated = min(marks.repeated(self.origin, messages), len(self.ends))
        if self.repeated:
            self.reason = f"{self.repeated} of {messages} messages came before"

    def set_aside(self, reason: str) -> None:
        """Leave it no row but that of the quarantine."""
        self.ends, self.repeated, self.reason = self.ends[:0], 0, reason

    def disown(self, reason: str) -> None:
        """Set it aside, and take no number for it: what it says of its Rack and leaf is not true."""
        self.origin = Origin(None, None, None, self.origin.messages)
        self.set_aside(reason)


def unpack(stored: Sequence[Stored], marks: Marks) -> tuple[list[Parcel], Pieces, Decoded]:
    """Take some stored messages apart; `marks` moves on. Whatever they hold, this does not raise."""
    pieces, counts = cut([item.payload for item in stored])
    limits = np.cumsum([0, *counts])
    begins = np.cumsum([0, *(len(item.payload) for item in stored)])
    parcels = [
        Parcel(item, origin(item), pieces.ends[limits[place] : limits[place + 1]] - begins[place])
        for place, item in enumerate(stored)
    ]
    decoded = decode(pieces, EVENTS)
    if doubtful := set((np.searchsorted(limits, decoded.bad, side="right") - 1).tolist()):
        for place in doubtful:
            _look_closer(parcels[place])
        pieces = joined(parcels)
        decoded = decode(pieces, EVENTS)
    _check(parcels, decoded)
    for parcel in parcels:
        parcel.count(marks)
    if sum(parcel.rows for parcel in parcels) != len(pieces):
        pieces = joined(parcels)
        decoded = decode(pieces, EVENTS)
    return parcels, pieces, decoded


def _check(parcels: Sequence[Parcel], decoded: Decoded) -> None:
    """Set aside what is not of the Rack that it came from, whatever it says of itself."""
    limits = np.cumsum([parcel.rows for parcel in parcels])
    found = [(rows, fields) for rows, fields, *_ in decoded.groups]
    found += [(np.array([row]), fields) for row, fields in decoded.fields.items()]
    for rows, fields in found:
        for place in np.unique(np.searchsorted(limits, rows, side="right")).tolist():
            parcel = parcels[place]
            if not parcel.reason and (fault := message_fault(parcel.stored.subject, parcel.origin, fields)):
                parcel.reason = fault
    for parcel in parcels:
        if fault := claim_fault(parcel.stored, parcel.origin):
            parcel.disown(fault)
            parcel.forged = True
        elif parcel.reason:
            parcel.set_aside(parcel.reason)


def joined(parcels: Sequence[Parcel]) -> Pieces:
    """Give the messages that have rows."""
    begins = np.cumsum([0, *(len(parcel.stored.payload) for parcel in parcels)])
    starts, ends = [begins[:0]], [begins[:0]]
    for begin, parcel in zip(begins, parcels, strict=False):
        own = np.append(0, parcel.ends) + begin
        starts.append(own[:-1][parcel.repeated :])
        ends.append(own[1:][parcel.repeated :])
    payloads = (parcel.stored.payload for parcel in parcels)
    return Pieces.of(payloads, np.concatenate(starts), np.concatenate(ends))


def _look_closer(parcel: Parcel) -> None:
    """Cut a payload message by message; one that can't be is set aside."""
    try:
        pairs = decode_sequence_strict(parcel.stored.payload)
    except Exception as error:  # noqa: BLE001 - a message may be anything; the ones behind it must go on
        parcel.set_aside(f"{type(error).__name__}: {error}")
    else:
        parcel.ends = np.cumsum([len(cbor) for _, cbor in pairs], dtype=np.int64)
