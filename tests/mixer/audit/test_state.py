"""A checkpoint makes reading short, and nothing that it says is taken on trust by who verifies."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxrig.evidence import PublicKeys, SigningKey
from mixer.audit import compact
from mixer.audit.local import Local
from mixer.audit.manifest import NAME, sign
from mixer.audit.origin import Marks
from mixer.audit.prove import prove
from mixer.audit.state import CHECKPOINT, State, load
from mixer.audit.store import AuditStore, Draft
from mixer.audit.tables import SAMPLES, TABLES, Table
from mixer.audit.tabulate import tabulate
from mixer.audit.verify import verify

from .stream import RACK, leaf_seqs, message, rows, run_of


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven commits and a compaction in between, with a checkpoint every third line."""
    monkeypatch.setattr("mixer.audit.store.CHECKPOINT_EVERY", 3)
    store = AuditStore(tmp_path / "audit")
    for number in range(7):
        commit(store, 2 * number + 1)
        if number == 3:
            assert [*compact.compact(store, compact.plan(store))]
    return store.folder


def commit(store: AuditStore, first: int) -> None:
    marks = Marks(store.progress("UNS").marks)
    store.commit("UNS", "2026-11-21", tabulate("UNS", run_of(first, 2), marks))


def whats(audit: Path) -> list[str]:
    found = verify(audit, PublicKeys.load([audit.parent / "signing.pub"])).findings
    return [f"{one.file}: {one.what}" for one in found]


def test_a_reader_needs_the_lines_behind_the_checkpoint_alone(audit: Path) -> None:
    """With the older lines made unreadable, the same rows are found; only `verify` misses the lines."""
    before = load(Local(audit)).document()
    checkpoint = State.parse((audit / CHECKPOINT).read_bytes())
    assert checkpoint is not None
    assert checkpoint.number == 6
    data = bytearray((audit / NAME).read_bytes())
    first = data.index(b"\n")
    data[:first] = b"x" * first
    (audit / NAME).write_bytes(data)
    assert load(Local(audit)).document() == before
    assert leaf_seqs(audit) == list(range(42))
    assert "the line was changed" in whats(audit)[0]


def test_a_checkpoint_comes_to_what_the_lines_come_to(audit: Path) -> None:
    """Reading from it, from the lines alone, and in the writer itself gives one and the same state."""
    short = load(Local(audit))
    (audit / CHECKPOINT).unlink()
    long = load(Local(audit))
    assert {**short.document(), "gone": None} == {**long.document(), "gone": None}
    assert {**AuditStore(audit).state.document(), "gone": None} == {**long.document(), "gone": None}
    assert len([*prove(audit, message(3).id.hex())]) == 1
    assert whats(audit) == []


def test_an_edited_checkpoint_is_named(audit: Path) -> None:
    """Edited, signed by another key, or signed rightly for another state: each is found."""
    path = audit / CHECKPOINT
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"rows":6', b'"rows":7'))
    assert whats(audit) == [f"{CHECKPOINT}: the checkpoint was changed after it was signed"]
    fields = json.loads(whole)
    del fields["signature"]
    other = SigningKey.generate()
    path.write_bytes(sign({**fields, "key": other.key_id}, other))
    assert "signed by another key" in whats(audit)[0]
    key = SigningKey.of(audit.parent)
    path.write_bytes(sign({**fields, "commits": fields["commits"][:-1]}, key))
    assert whats(audit) == [f"{CHECKPOINT}: is not what the first 6 lines come to"]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"number":9}', b'{"commits":[1]}'])
def test_a_broken_checkpoint_is_passed_over(audit: Path, data: bytes) -> None:
    """What is no checkpoint, or one of another manifest, costs time and nothing else."""
    (audit / CHECKPOINT).write_bytes(data)
    assert leaf_seqs(audit) == list(range(42))
    commit(AuditStore(audit), 15)
    assert leaf_seqs(audit) == list(range(48))


def test_a_writer_goes_on_from_a_checkpoint(audit: Path) -> None:
    """Numbers, marks and files go on where the checkpoint and the lines behind it leave off."""
    store = AuditStore(audit)
    assert store.progress("UNS").marks == {f"{RACK}/leaf-a": 41}
    commit(store, 15)
    assert store.state.number == 9
    assert leaf_seqs(audit) == list(range(48))
    assert whats(audit) == []


def test_an_older_store_with_fewer_columns_is_read_with_a_newer_one(store: AuditStore) -> None:
    """A table that gained columns is one table: null in old rows, nothing rewritten, all verifies."""
    older = Table(SAMPLES.name, pa.schema(list(SAMPLES.schema)[:-2]), SAMPLES.repeating, order=SAMPLES.order)
    run = tabulate("UNS", run_of(1, 2), Marks())
    drafts = []
    for (name, day), batches in run.batches.items():
        made = pa.Table.from_batches(batches)
        if name == SAMPLES.name:
            drafts.append(Draft(older, day, made.select(older.schema.names)))
        else:
            drafts.append(Draft(TABLES[name], day, made, bytes(run.leaves[name, day])))
    store.write("UNS", (1, 2), drafts, epoch="2026-11-21", marks=run.marks)
    sql = "SELECT value_int, id, stream_seq FROM samples ORDER BY value_int"
    assert rows(store.folder, sql) == [(n, None, None) for n in range(6)]
    before = {path: path.read_bytes() for path in (store.folder / "samples").rglob("*.parquet")}
    commit(store, 3)
    found = rows(store.folder, sql)
    assert [row[0] for row in found] == list(range(12))
    assert [row[2] for row in found] == [None] * 6 + [3] * 3 + [4] * 3
    assert all(path.read_bytes() == data for path, data in before.items())
    assert whats(store.folder) == []
    commit(store, 5)
    assert [*compact.compact(store, compact.plan(store))]
    kept = sorted(pq.read_schema(path).names[-1] for path in (store.folder / "samples").rglob("*.parquet"))
    assert kept == ["rack", "stream_seq"]
    assert whats(store.folder) == []
