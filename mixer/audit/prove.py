"""Find a message and prove that it is in the audit store."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxrig import evidence
from fluxrig.errors import AuditError
from fluxrig.evidence import Proof
from mixer.audit.columns import PLACE
from mixer.audit.entries import leaves_of
from mixer.audit.manifest import chained
from mixer.audit.query import query
from mixer.audit.source import Place, Source, source
from mixer.audit.state import Live, load
from mixer.audit.tables import MESSAGES


def prove(place: Place, message_id: str) -> Iterator[Proof]:
    """Give a proof for each row that has the id, in the order of the files. Raises AuditError for none."""
    try:
        text = str(UUID(message_id))
    except ValueError:
        raise AuditError(f"{message_id!r:.80} is no id; the column id of messages has them") from None
    store = source(place)
    with store.reading():
        files = _files(place, store, text)
        if not files:
            raise AuditError(f"no message with the id {text} is in {place}")
        numbers = {live.commit.number for live in files}
        lines = {
            commit.number: line
            for commit, line in chained(store.lines(), store.manifest)
            if commit.number in numbers
        }
        for live in files:
            yield from _prove(store, live, lines[live.commit.number], text)


def _files(place: Place, store: Source, text: str) -> list[Live]:
    """Give the files that may have the id: those of the commits that its rows came with."""
    sql = f"SELECT DISTINCT project, stream, stream_seq FROM messages WHERE id = '{text}'"  # noqa: S608 - a UUID
    with query(place, sql) as reader:
        found = [tuple(row.values()) for row in reader.read_all().to_pylist()]
    return [
        live
        for live in load(store).files.values()
        if live.file.table == MESSAGES.name and any(_may_have(live, *row) for row in found)
    ]


def _may_have(live: Live, project: str, stream: str, seq: int) -> bool:
    commit = live.commit
    return (commit.project, commit.stream) == (project, stream) and commit.first <= seq <= commit.last


def _prove(store: Source, live: Live, line: bytes, text: str) -> Iterator[Proof]:
    path, root = live.file.path, live.file.root
    file = pq.ParquetFile(pa.BufferReader(store.read(path)))
    columns = file.read([*PLACE, "id", "cbor"]).combine_chunks()
    leaves = leaves_of(MESSAGES, {name: columns[name].combine_chunks() for name in columns.column_names})
    if not root or evidence.root(leaves).hex() != root:
        raise AuditError(f"{path} is not as it was signed; run `mixer audit verify`")
    for row in pc.indices_nonzero(pc.equal(columns["id"], text)).to_pylist():
        place = [columns[name][row] for name in PLACE]
        yield Proof(
            message=columns["cbor"][row].as_py().hex(),
            place=[
                cell.value if name == "received" else cell.as_py()
                for name, cell in zip(PLACE, place, strict=True)
            ],
            file=path,
            position=row,
            size=len(leaves),
            path=[one.hex() for one in evidence.inclusion_path(leaves, row)],
            line=line.decode().rstrip("\n"),
        )
