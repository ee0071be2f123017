"""Rows made in worker processes are those made at hand, also when a worker is killed."""

import os
import signal
from pathlib import Path

import pytest

from mixer.audit import workers
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import Tabulated, tabulate
from mixer.audit.workers import Workers, parts

from .stream import leaf_seqs, run_of


@pytest.fixture
def much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_MUCH_BYTES", 0)


def same(one: Tabulated, other: Tabulated) -> bool:
    return (one.first, one.last, one.marks, one.firsts, one.racks, one.leaves, one.batches) == (
        other.first, other.last, other.marks, other.firsts, other.racks, other.leaves, other.batches
    )  # fmt: skip


async def test_a_worker_makes_the_same_rows_and_its_end_costs_none(much: None, tmp_path: Path) -> None:
    """Rows, leaf hashes and marks are equal; after kill -9 of every worker the part is made again."""
    items, pool = run_of(1, 20), Workers(1)
    expected = tabulate("UNS", items, Marks())
    try:
        assert same(await pool.tabulate("UNS", items), expected)
        assert pool._pool is not None
        for pid in list(pool._pool._processes):
            os.kill(pid, signal.SIGKILL)
        again = await pool.tabulate("UNS", items)
        assert same(again, expected)
        store = AuditStore(tmp_path / "audit")
        store.commit("UNS", "2026-11-21", again)
        assert leaf_seqs(store.folder) == list(range(60))
    finally:
        pool.close()


def test_what_repeats_is_told_by_the_marks() -> None:
    """A part made without looking back follows the marks or does not."""
    part = tabulate("UNS", run_of(3, 2), Marks())
    assert part.follows(Marks({"leaf-a": 5}))
    assert not part.follows(Marks({"leaf-a": 6}))


def test_parts_are_bounded_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is in one part, in order, and parts are cut by size."""
    items = run_of(1, 10)
    monkeypatch.setattr(workers, "PART_BYTES", 2 * len(items[0].payload))
    cut = list(parts(items))
    assert [item for part in cut for item in part] == items
    assert len(cut) > 2
