"""Messages as the hub stores them, made up for tests, and the ledger that the Parquet files must balance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from fluxrig.bus import Source, Stored, mark_of
from fluxrig.codec import encode_sequence
from fluxrig.message import FluxMsg
from fluxrig.uns import to_subject
from mixer.audit.query import query

NOON_NS = 1_795_262_400_000_000_000  # 2026-11-21T12:00:00Z
RACK = "press-line-3"


def message(number: int, data: dict[str, Any] | None = None, **fields: Any) -> FluxMsg:
    """A message whose id is its number."""
    return FluxMsg(
        **{
            "id": number.to_bytes(16),
            "ts": NOON_NS + number,
            "src": f"{RACK}/press",
            "uns": "acme/lyon/press",
            "schema": "fluxrig.tags/1",
            "data": {"n": number} if data is None else data,
            **fields,
        }
    )


def stored(
    seq: int, messages: Sequence[FluxMsg], first: int, *, leaf: str = "leaf-a", time_ns: int = NOON_NS
) -> Stored:
    """One NATS message of a leaf, `first` being its number there of the first fluxMsg."""
    rack, subject = messages[0].src.partition("/")[0], to_subject(messages[0].uns)
    headers = {"Fluxrig-Rack": rack, "Fluxrig-Leaf": leaf, "Fluxrig-Seq": str(first)}
    source = Source(mark_of(rack), subject)
    return Stored(seq, subject, encode_sequence(messages), headers, time_ns, source)


def parcels(messages: Sequence[FluxMsg], *, time_ns: int = NOON_NS) -> list[Stored]:
    """Messages as Racks store them: those of one Rack and asset together. Each Rack has one leaf."""
    numbers: dict[str, int] = {}
    made = []
    for seq, ((rack, _), some) in enumerate(groupby(messages, _rack_and_asset), 1):
        together = list(some)
        first = numbers.get(rack, 0)
        numbers[rack] = first + len(together)
        leaf = "leaf-a" if rack == RACK else f"leaf-{rack}"
        made.append(stored(seq, together, first, leaf=leaf, time_ns=time_ns))
    return made


def _rack_and_asset(one: FluxMsg) -> tuple[str, str]:
    return one.src.partition("/")[0], one.uns


def run_of(first: int, count: int, *, each: int = 3) -> list[Stored]:
    """Stored messages of `each` fluxMsgs; sequence s carries the numbers from each * (s - 1) on."""
    numbers = ((seq, each * (seq - 1)) for seq in range(first, first + count))
    return [stored(seq, [message(start + i) for i in range(each)], start) for seq, start in numbers]


def rows(audit: Path | str, sql: str) -> list[tuple[Any, ...]]:
    """The answer to a query."""
    with query(audit, sql) as reader:
        table = reader.read_all()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def leaf_seqs(audit: Path | str) -> list[int]:
    """The leaf's number of each row, in the order of the files."""
    return [row[0] for row in rows(audit, "SELECT leaf_seq FROM messages")]
