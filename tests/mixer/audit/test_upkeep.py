"""Compaction and retention change which files there are, and neither a row nor what can be proven."""

from contextlib import suppress
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fluxrig.errors import AuditError
from fluxrig.evidence import PublicKeys
from mixer.audit import compact, retention
from mixer.audit.disk import Disk
from mixer.audit.layout import value_of
from mixer.audit.local import Local
from mixer.audit.manifest import NAME, read
from mixer.audit.origin import Marks
from mixer.audit.prove import prove
from mixer.audit.retention import Rule
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from mixer.audit.upkeep import Task, perform
from mixer.audit.verify import verify

from .stream import NOON_NS, leaf_seqs, message, rows, stored
from .test_store import Crash, FailingDisk

DAY_NS = 86_400 * 10**9


def fill(store: AuditStore, commits: int = 6) -> None:
    """Commits of two stored messages each, on three days, with tags out of order."""
    marks = Marks(store.progress("UNS").marks)
    for number in range(commits):
        first, time_ns = 2 * number, NOON_NS + DAY_NS * (number * 3 // commits)
        items = [
            stored(first + 1 + i, [message(4 * number + 2 * i + j, {"b": 1, "a": j}) for j in range(2)],
                   4 * number + 2 * i, time_ns=time_ns)
            for i in range(2)
        ]  # fmt: skip
        store.commit("UNS", "2026-11-21", tabulate("UNS", items, marks))


def files(audit: Path, table: str = "messages") -> list[Path]:
    return sorted((audit / table).rglob("*.parquet"))


def report(audit: Path) -> list[str]:
    found = verify(audit, PublicKeys.load([audit.parent / "signing.pub"]))
    return [f"{one.file}:{one.row}: {one.what}" for one in found.findings]


def do_compact(store: AuditStore) -> None:
    for _ in compact.compact(store, compact.plan(store)):
        pass


def do_prune(store: AuditStore) -> None:
    retention.prune(store, retention.plan(store, Rule(age_s=86_400), date(2026, 11, 23)), "test")


def test_compaction_keeps_rows_order_and_evidence(store: AuditStore) -> None:
    """Few files, the same rows in the same order, and every signature still followed to its rows."""
    fill(store)
    before = rows(store.folder, "SELECT * FROM messages ORDER BY stream_seq, leaf_seq")
    assert len(files(store.folder)) == 6
    do_compact(store)
    assert len(files(store.folder)) == len(files(store.folder, "samples")) == 3
    assert rows(store.folder, "SELECT * FROM messages ORDER BY stream_seq, leaf_seq") == before
    assert leaf_seqs(store.folder) == list(range(24))
    assert report(store.folder) == []
    assert (store.progress("UNS").files, store.progress("UNS").rows["messages"]) == (6, 24)
    assert AuditStore(store.folder).progress("UNS") == store.progress("UNS")
    assert len([*prove(store.folder, str(message(3).id.hex()))]) == 1


def test_what_is_compacted_is_compacted_again(store: AuditStore) -> None:
    """Later commits of a day join its file, behind what was there, and nothing is done twice."""
    fill(store)
    do_compact(store)
    assert compact.plan(store) == []
    items = [stored(50, [message(99)], 24, time_ns=NOON_NS)]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    do_compact(store)
    assert len(files(store.folder)) == 3
    first = pq.ParquetFile(files(store.folder)[0]).read()["leaf_seq"].to_pylist()
    assert first == [*range(8), 24]
    assert report(store.folder) == []


def test_tampering_is_found_behind_a_compaction(store: AuditStore) -> None:
    """A row edited afterwards is named in the new file; one edited before keeps its file from merging."""
    fill(store)
    bad = files(store.folder)[0]
    table = pq.ParquetFile(bad).read()
    edited = table.set_column(table.schema.get_field_index("uns"), "uns", pa.array(["x"] * table.num_rows))
    kept = bad.read_bytes()
    pq.write_table(edited, bad)
    with pytest.raises(AuditError, match="not as it was signed"):
        do_compact(store)
    bad.write_bytes(kept)
    do_compact(store)
    merged = files(store.folder)[-1]
    pq.write_table(pq.ParquetFile(merged).read().slice(1), merged)
    assert report(store.folder)[0].startswith(
        f"{merged.relative_to(store.folder).as_posix()}:0: a row was removed"
    )


@pytest.mark.parametrize("upkeep", [do_compact, do_prune])
@pytest.mark.parametrize("error", [Crash(), OSError(28, "No space left on device")], ids=["crash", "full"])
def test_upkeep_that_ends_between_any_two_steps_harms_nothing(
    tmp_path: Path, upkeep: object, error: BaseException
) -> None:
    """After each possible last step a new writer finds all rows once, verifiable, and can do it again."""
    for steps in range(200):
        audit = tmp_path / f"{steps}" / "audit"
        store = AuditStore(audit)
        fill(store, 4)
        store._disk = disk = FailingDisk(steps, error)
        with suppress(Crash, OSError):
            upkeep(store)  # type: ignore[operator]
        if steps % 3 == 0:
            assert sorted(leaf_seqs(audit)) in (list(range(16)), list(range(8, 16)))
        again = AuditStore(audit)
        upkeep(again)  # type: ignore[operator]
        bare = ds.dataset(audit / "messages", format="parquet").to_table()["leaf_seq"].to_pylist()
        assert sorted(bare) == list(range(0 if upkeep is do_compact else 8, 16))
        if steps % 5 == 0 or disk.steps >= 0:
            assert report(audit) == []
        if disk.steps >= 0:
            break
    else:
        pytest.fail("it never came to its end")
    assert steps > 10


def test_retention_leaves_a_signed_tombstone(store: AuditStore) -> None:
    """What is too old goes, the manifest says what it was, and verification knows of it."""
    fill(store)
    plan = retention.plan(store, Rule(age_s=86_400), date(2026, 11, 23))
    gone = [live.file for live in plan]
    assert {path for file in gone if "2026-11-21" in (path := file.path)} == {file.path for file in gone}
    retention.prune(store, plan, "older than 1 day")
    assert leaf_seqs(store.folder) == list(range(8, 24))
    assert report(store.folder) == []
    tombstone = [commit for commit, _ in read(store.folder / NAME)][-1]
    assert (tombstone.kind, tombstone.reason, tombstone.gone) == ("prune", "older than 1 day", tuple(gone))
    assert store.progress("UNS").last == 12
    assert store.progress("UNS").rows["messages"] == 16


def test_retention_by_table_and_size(store: AuditStore) -> None:
    """One table may be kept shorter than another, and by size the oldest days go first."""
    fill(store)
    size = sum(path.stat().st_size for path in files(store.folder, "samples"))
    plan = retention.plan(store, Rule(table="samples", bytes=size * 3 // 4), date(2026, 11, 30))
    assert [live.file.table for live in plan] == ["samples", "samples"]
    retention.prune(store, plan, "size")
    assert rows(store.folder, "SELECT count(*), count(DISTINCT date) FROM samples") == [(32, 2)]
    assert leaf_seqs(store.folder) == list(range(24))
    assert report(store.folder) == []
    do_compact(store)
    assert report(store.folder) == []


def test_messages_may_go_before_their_samples(store: AuditStore) -> None:
    """Samples whose messages were pruned stay, held by their digest, also through compaction."""
    fill(store)
    retention.prune(store, retention.plan(store, Rule("messages", age_s=86_400), date(2026, 11, 23)), "age")
    assert rows(store.folder, "SELECT count(*) FROM samples") == [(48,)]
    do_compact(store)
    assert report(store.folder) == []
    path = files(store.folder, "samples")[0]
    pq.write_table(pq.ParquetFile(path).read().slice(1), path)
    assert "the bytes of the file were changed" in report(store.folder)[0]


def test_the_present_day_is_never_pruned(store: AuditStore) -> None:
    """However little is to be kept, what is being written stays."""
    fill(store)
    assert {
        value_of(live.file.path, "date") for live in retention.plan(store, Rule(bytes=0), date(2026, 11, 23))
    } == {
        "2026-11-21",
        "2026-11-22",
    }


def test_a_query_at_work_keeps_its_files(store: AuditStore) -> None:
    """While a query reads, what was merged stays where it is, and a bare reader sees no row twice."""
    fill(store)
    before = files(store.folder)
    with Local(store.folder).reading():
        do_compact(store)
        assert files(store.folder) == before
        assert leaf_seqs(store.folder) == list(range(24))
    fill(store, 1)
    assert len(files(store.folder)) == 3
    assert ds.dataset(store.folder / "messages", format="parquet").count_rows() == 24


def test_a_dry_run_changes_nothing(store: AuditStore) -> None:
    """It says what would be done, and does not do it."""
    fill(store)
    before = sorted(store.folder.rglob("*"))
    assert perform(store, Task(do="compact", dry_run=True))["files_before"] == 12
    assert perform(store, Task(do="prune", dry_run=True, bytes=0))["dry_run"]
    assert sorted(store.folder.rglob("*")) == before
    store._disk = Disk()
    assert perform(store, Task(do="compact"))["files_after"] == 6
