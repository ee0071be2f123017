"""Real processes, really ended, and disks really full: the folder has every row once, and verifies."""

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pyarrow.parquet as pq
import pytest

from fluxrig.evidence import PublicKeys
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from mixer.audit.verify import verify

from .stream import leaf_seqs, run_of

COMMAND = (sys.executable, "-m", "tests.mixer.audit.upkeep_process")
OLD = 40
"""Sequences before this are of a day that retention takes."""


def test_kill_9_at_random_moments_of_write_compact_and_prune(tmp_path: Path) -> None:
    """Whatever it was doing, the next one finds all rows that were committed, once, in order, provable."""
    audit, draw, said = tmp_path / "audit", random.Random(23), 0
    for _ in range(9):
        with subprocess.Popen([*COMMAND, str(audit)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(1, 25)):
                said = int(process.stdout.readline())
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0, 0.03))
            process.kill()
            said = max([said, *map(int, process.stdout.read().split())])
        store = AuditStore(audit)
        last = store.progress("UNS").last
        assert last >= said
        seqs = leaf_seqs(audit)
        assert [seq for seq in seqs if seq >= OLD] == list(range(OLD, last + 1))
        assert seqs == sorted(set(seqs))
        places = (audit / "messages").rglob("*.parquet")
        assert sorted(seq for path in places for seq in pq.read_table(path)["leaf_seq"].to_pylist()) == seqs
        assert verify(audit, PublicKeys.load([tmp_path / "signing.pub"])).findings == []
    kinds = store.state.lines
    assert kinds["compact"] > 3
    assert kinds["prune"] > 0


def commit(store: AuditStore, first: int, count: int) -> None:
    run = tabulate("UNS", run_of(first, count, each=20), Marks(store.progress("UNS").marks))
    store.commit("UNS", "e", run)


def fill(store: AuditStore) -> None:
    """Commit until the disk refuses."""
    for _ in range(1000):
        commit(store, store.progress("UNS").last + 1, 5)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Have the kernel refuse to let any file of this process grow past a size (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [1, 300, 2000, 6000])
def test_a_file_that_can_not_grow_is_waited_out(tmp_path: Path, size: int) -> None:
    """The kernel cuts a write in the middle, of a Parquet file or of the manifest: it is made whole later."""
    audit = tmp_path / "audit"
    store = AuditStore(audit)
    commit(store, 1, 5)
    with largest_file(size), pytest.raises(OSError, match="File too large"):
        fill(store)
    after = store.progress("UNS").last
    commit(store, after + 1, 5)
    assert leaf_seqs(audit) == list(range(20 * (after + 5)))
    assert AuditStore(audit).progress("UNS").last == after + 5
    assert verify(audit, PublicKeys.load([tmp_path / "signing.pub"])).findings == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = [which("mount") or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs privileges")
    try:
        yield place
    finally:
        subprocess.run([which("umount") or "umount", str(place)], check=True)


def test_a_full_file_system_is_waited_out(small_disk: Path) -> None:
    """Really full (ENOSPC): nothing is lost, the readers still read, and with room again it goes on."""
    audit = small_disk / "audit"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (700 << 10))
    store = AuditStore(audit)
    with pytest.raises(OSError, match="No space left"):
        fill(store)
    after = store.progress("UNS").last
    assert after
    assert leaf_seqs(audit) == list(range(20 * after))
    with pytest.raises(OSError, match="No space left"):
        fill(store)
    ballast.unlink()
    after = store.progress("UNS").last
    commit(store, after + 1, 5)
    assert leaf_seqs(audit) == list(range(20 * (after + 5)))
    assert AuditStore(audit).progress("UNS").last == after + 5
    assert verify(audit, PublicKeys.load([small_disk / "signing.pub"])).findings == []
