"""The way of one message: its hops with times, what it derives from, and what derives from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from uuid import UUID

from fluxrig.codec import decode_strict
from fluxrig.errors import AuditError
from mixer.audit.query import Limits, query
from mixer.audit.source import Place
from mixer.audit.values import plain, rfc3339

MAX_GENERATIONS: Final = 32
MAX_MESSAGES: Final = 1000

_ROW: Final = (
    "SELECT id, ref, epoch_ns(ts) AS ts, epoch_ns(received) AS received, uns, schema, leaf, leaf_seq, cbor"
    " FROM messages WHERE {column} IN ({ids}) ORDER BY stream_seq, leaf_seq LIMIT 1001"
)


@dataclass(slots=True)
class Hop:
    """One station: where, and when in RFC 3339; `after_us` is since the one before."""

    at: str
    time: str
    after_us: float | None


@dataclass(slots=True)
class Traced:
    """One message and its way."""

    id: str
    uns: str
    schema: str
    data: dict[str, Any]
    hops: list[Hop] = field(default_factory=list)
    derives_from: str | None = None
    generation: int = 0
    """0 is the message asked for, -1 what it derives from, 1 what derives from it, and so on."""


def trace(place: Place, message_id: str, limits: Limits | None = None) -> list[dict[str, Any]]:
    """Give the family of a message, the oldest generation first. Raises AuditError when there is none."""
    try:
        wanted = str(UUID(message_id))
    except ValueError:
        raise AuditError(f"{message_id!r:.80} is no id; the column id of messages has them") from None
    own = _read(place, "id", {wanted}, 0, limits)
    if not own:
        raise AuditError(f"no message with the id {wanted} is in {place}")
    family = [*_ancestors(place, own, limits), *own, *_descendants(place, wanted, limits)]
    return [asdict(one) for one in sorted(family, key=lambda one: one.generation)]


def _ancestors(place: Place, own: list[Traced], limits: Limits | None) -> Iterator[Traced]:
    known = {one.id for one in own}
    ids = {one.derives_from for one in own if one.derives_from} - known
    for generation in range(1, MAX_GENERATIONS):
        if not ids:
            return
        found = _read(place, "id", ids, -generation, limits)
        yield from found
        known |= ids
        ids = {one.derives_from for one in found if one.derives_from} - known


def _descendants(place: Place, wanted: str, limits: Limits | None) -> Iterator[Traced]:
    known, ids = {wanted}, {wanted}
    for generation in range(1, MAX_GENERATIONS):
        found = [one for one in _read(place, "ref", ids, generation, limits) if one.id not in known]
        yield from found
        ids = {one.id for one in found}
        known |= ids
        if not ids or len(known) > MAX_MESSAGES:
            return


def _read(place: Place, column: str, ids: set[str], generation: int, limits: Limits | None) -> list[Traced]:
    """Read the messages whose `column` is one of `ids`, which are UUIDs in text form."""
    listed = ", ".join(f"'{UUID(one)}'" for one in sorted(ids))
    with query(place, _ROW.format(column=column, ids=listed), limits) as reader:
        rows = reader.read_all().to_pylist()
    return [_traced(row, generation) for row in rows]


def _traced(row: dict[str, Any], generation: int) -> Traced:
    message = decode_strict(row["cbor"])
    stations = [("source", message.ts), *((str(at), int(ns)) for at, ns in message.path)]
    stations.append((f"hub (leaf {row['leaf']}, number {row['leaf_seq']})", row["received"]))
    hops = []
    before: int | None = None
    for at, ns in stations:
        hops.append(Hop(at, rfc3339(ns), None if before is None else (ns - before) / 1000))
        before = ns
    return Traced(
        row["id"], row["uns"], row["schema"], plain(dict(message.data)), hops, row["ref"], generation
    )
