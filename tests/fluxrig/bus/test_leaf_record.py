"""What a leaf remembers of its streams outside of them."""

import threading
from pathlib import Path

from fluxrig.bus.leaf_record import RESERVE, LeafRecord


def test_a_reservation_outlasts_a_save_that_comes_at_the_same_time(tmp_path: Path) -> None:
    """What is reserved is on the disk when `reserve` returns, and stays, whoever else writes the record."""
    record = LeafRecord(tmp_path / "UNS.record.json", leaf="1")
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            record.save()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for seq in range(1, 200 * (RESERVE + 1), RESERVE + 1):
            record.reserve(seq)
            assert LeafRecord.load(record.path).reserved >= seq
    finally:
        done.set()
        watcher.join()
    assert LeafRecord.load(record.path).reserved == record.reserved


def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    """All that was noted is there after a restart, and nothing of it is left out."""
    record = LeafRecord(tmp_path / "record", leaf="1", lost=3, holes=[(1, 2)], boot="b", skip_to=9)
    record.save(sync=True)
    assert LeafRecord.load(record.path) == record
