"""Find a message and prove that it is in the audit store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pyarrow.parquet as pq

from fluxrig import evidence
from fluxrig.errors import AuditError
from fluxrig.evidence import Proof
from mixer.audit.columns import PLACE
from mixer.audit.entries import leaves_of
from mixer.audit.manifest import NAME, live, read
from mixer.audit.query import Limits, connect, reading
from mixer.audit.store import staged
from mixer.audit.tables import MESSAGES


def prove(folder: Path, message_id: str) -> Iterator[Proof]:
    """Give a proof for each row that has the id, in the order of the files. Raises AuditError for none."""
    try:
        text = str(UUID(message_id))
    except ValueError:
        raise AuditError(f"{message_id!r:.80} is no id; the column id of messages has them") from None
    with reading(folder):
        lines = {commit.number: (commit, line) for commit, line in read(folder / NAME)}
        files = {
            _place(folder, path): (commit, file)
            for path, (commit, file) in live(commit for commit, _ in lines.values()).items()
            if file.table == MESSAGES.name
        }
        found = _find(folder, list(files), text) if files else []
        if not found:
            raise AuditError(f"no message with the id {text} is in {folder}")
        for path, row in found:
            commit, file = files[path]
            yield _prove(path, row, file.path, file.root, lines[commit.number][1])


def _place(folder: Path, path: str) -> Path:
    place = folder / path
    return (place if place.exists() else staged(folder, path)).resolve()


def _find(folder: Path, files: list[Path], text: str) -> list[tuple[Path, int]]:
    with (
        TemporaryDirectory(prefix="fluxrig-prove-") as scratch,
        connect(folder, Limits(), Path(scratch)) as db,
    ):
        rows = db.execute(
            "SELECT filename, file_row_number"
            " FROM read_parquet($files, filename = true, file_row_number = true)"
            " WHERE id = $id ORDER BY ALL",
            {"files": [str(file) for file in files], "id": text},
        ).fetchall()
    return [(Path(name), row) for name, row in rows]


def _prove(file: Path, row: int, path: str, root: str, line: bytes) -> Proof:
    columns = pq.ParquetFile(file).read([*PLACE, "cbor"]).combine_chunks()
    leaves = leaves_of(MESSAGES, {name: columns[name].combine_chunks() for name in columns.column_names})
    if not root or evidence.root(leaves).hex() != root:
        raise AuditError(f"{path} is not as it was signed; run `mixer audit verify`")
    place = [columns[name][row] for name in PLACE]
    return Proof(
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
