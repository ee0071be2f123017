"""A commit is wholly in the store or not at all, whenever the process or the disk gives up."""

from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from fluxrig.errors import AuditError
from mixer.audit.disk import Disk
from mixer.audit.manifest import NAME
from mixer.audit.store import STAGED, AuditStore
from mixer.audit.tabulate import tabulate

from .stream import leaf_seqs, run_of


class Crash(BaseException):
    """The process is gone: nothing after this line runs."""


class FailingDisk(Disk):
    """Does `steps` things, then fails with `error` at each; a write that fails leaves half its bytes."""

    def __init__(self, steps: int, error: BaseException) -> None:
        self.steps = steps
        self.error = error

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise self.error

    def make_folder(self, path: Path) -> None:
        self._step()
        super().make_folder(path)

    def write(self, path: Path, data: bytes | memoryview) -> None:
        try:
            self._step()
        except BaseException:
            path.write_bytes(bytes(data)[: len(data) // 2])
            raise
        super().write(path, data)

    def append(self, path: Path, offset: int, data: bytes) -> None:
        try:
            self._step()
        except BaseException:
            with path.open("ab") as file:
                file.write(data[: len(data) // 2])
            raise
        super().append(path, offset, data)

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)

    def sync_folder(self, path: Path) -> None:
        self._step()
        super().sync_folder(path)


def commit(store: AuditStore, first: int, count: int) -> None:
    progress = store.progress("UNS")
    store.commit(
        "UNS", "2026-11-21", tabulate("UNS", run_of(first, count), type(progress.marks)(progress.marks))
    )


def steps_of_a_commit(tmp_path: Path) -> int:
    store = AuditStore(tmp_path / "counted")
    disk = FailingDisk(10_000, Crash())
    store._disk = disk
    commit(store, 1, 2)
    return 10_000 - disk.steps


@pytest.mark.parametrize("error", [Crash(), OSError(28, "No space left on device")], ids=["crash", "full"])
def test_a_process_that_ends_between_any_two_steps_loses_and_doubles_nothing(
    tmp_path: Path, error: BaseException
) -> None:
    """After each possible last step, a new writer goes on, and every row is there once."""
    total = steps_of_a_commit(tmp_path)
    assert total > 6
    for steps in range(total + 1):
        audit = tmp_path / f"after-{steps}"
        store = AuditStore(audit)
        commit(store, 1, 2)
        store._disk = FailingDisk(steps, error)
        try:
            commit(store, 3, 2)
        except (Crash, OSError):
            assert steps < total
        seen = ds.dataset(audit / "messages", format="parquet").to_table()["leaf_seq"].to_pylist()
        assert seen in (list(range(6)), list(range(12))), "a reader of the bare folder saw half a commit"
        again = AuditStore(audit)
        position = again.progress("UNS").last
        assert position in (2, 4)
        commit(again, position + 1, 6 - position)
        assert leaf_seqs(audit) == list(range(18))
        assert not list((audit / STAGED).rglob("*.parquet"))


def test_a_full_disk_is_retried_by_the_same_writer(tmp_path: Path) -> None:
    """Whichever step found the disk full, offering the same rows again stores them exactly once."""
    for steps in range(steps_of_a_commit(tmp_path)):
        audit = tmp_path / f"full-{steps}"
        store = AuditStore(audit)
        commit(store, 1, 2)
        store._disk = FailingDisk(steps, OSError(28, "No space left on device"))
        try:
            commit(store, 3, 2)
        except OSError:
            assert store.progress("UNS").last == 2
            store._disk = Disk()
            commit(store, 3, 2)
        store._disk = Disk()
        commit(store, 5, 1)
        assert leaf_seqs(audit) == list(range(15))
        assert (
            leaf_seqs(audit)
            == ds.dataset(audit / "messages", format="parquet").to_table()["leaf_seq"].to_pylist()
        )
        assert AuditStore(audit).progress("UNS").last == 5


def test_a_query_sees_a_commit_whose_files_are_not_in_place_yet(store: AuditStore) -> None:
    """What the manifest names is in the answer, also in the moment before its file is moved."""

    class Stuck(Disk):
        def rename(self, old: Path, new: Path) -> None:
            raise OSError(5, "Input/output error")

    store._disk = Stuck()
    commit(store, 1, 2)
    assert not list((store.folder / "messages").rglob("*.parquet"))
    assert leaf_seqs(store.folder) == list(range(6))
    store._disk = Disk()
    commit(store, 3, 1)
    assert len(list((store.folder / "messages").rglob("*.parquet"))) == 2
    assert leaf_seqs(store.folder) == list(range(9))


@pytest.mark.parametrize("torn", [b"{", b'{"previous":"0', b"\x00" * 64])
def test_a_torn_last_line_is_cut_off(store: AuditStore, torn: bytes) -> None:
    """What a power cut left of a line is no commit, and the next line follows the last whole one."""
    commit(store, 1, 2)
    with (store.folder / NAME).open("ab") as file:
        file.write(torn)
    assert leaf_seqs(store.folder) == list(range(6))
    again = AuditStore(store.folder)
    commit(again, 3, 1)
    assert AuditStore(store.folder).progress("UNS").last == 3


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


@pytest.mark.parametrize(
    "tamper",
    [lambda lines: lines[1:], _swap, lambda lines: [lines[0].replace(b'"rows":6', b'"rows":5'), *lines[1:]]],
    ids=["removed", "swapped", "changed"],
)
def test_a_changed_manifest_is_named_and_not_written_to(store: AuditStore, tamper: Any) -> None:
    """A line that was changed, moved or removed is found at the start, with the line's number."""
    for first in (1, 3, 5):
        commit(store, first, 2)
    path = store.folder / NAME
    path.write_bytes(b"".join(tamper(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(AuditError, match=rf"{NAME}:[12]: this line was changed"):
        AuditStore(store.folder)


def test_other_readers_find_the_same_rows(store: AuditStore) -> None:
    """pyarrow and plain DuckDB on the bare folder read what `mixer audit query` reads."""
    import duckdb

    commit(store, 1, 5)
    commit(store, 6, 5)
    ours = leaf_seqs(store.folder)
    folder = store.folder / "messages"
    dataset = ds.dataset(folder, format="parquet", partitioning="hive").to_table()
    assert dataset["leaf_seq"].to_pylist() == ours == list(range(30))
    assert set(dataset["project"].to_pylist()) == {"default"}
    with duckdb.connect() as connection:
        plain = connection.read_parquet(f"{folder}/**/*.parquet").select("leaf_seq", "id", "cbor").fetchall()
    columns = dataset.select(["leaf_seq", "id", "cbor"]).to_pydict().values()
    assert plain == list(zip(*columns, strict=True))
