"""The journal survives kills."""

from gears.simulate.journal import Journal, Settled, read_journal


def test_what_was_added_is_read_back(tmp_path):
    """Two runs share one file, in order."""
    path = tmp_path / "journal"
    for run in (1, 2):
        journal = Journal(path)
        journal.add(Settled(run, 0, 9))
        journal.close()
    assert list(read_journal(path)) == [Settled(1, 0, 9), Settled(2, 0, 9)]


def test_a_torn_last_line_is_left_out_and_does_not_spoil_the_next(tmp_path):
    """A line that a kill cut off claims nothing, also when the next run appends behind it."""
    path = tmp_path / "journal"
    path.write_bytes(b"1 0 9\n1 10 1")
    assert list(read_journal(path)) == [Settled(1, 0, 9)]
    journal = Journal(path)
    journal.add(Settled(2, 0, 4))
    journal.close()
    assert list(read_journal(path))[-1] == Settled(2, 0, 4)
