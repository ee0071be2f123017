"""`store:` of a Rack file: what the leaf keeps."""

import pytest

from fluxrig.rackfile.model import StoreSpec


def test_a_file_without_it_blocks_and_syncs_always(passes, good) -> None:
    """The default loses nothing: 8 GiB, no age, sources wait, each message on the disk before it counts."""
    assert passes(good).store == StoreSpec(8 << 30, None, "block", "always")


def test_each_setting_arrives(passes, good) -> None:
    """Sizes, ages and intervals are written with their units."""
    text = "store: {max_bytes: 100MiB, max_age: 30d, when_full: drop_oldest, sync: 1s}\n"
    assert passes(good + text).store == StoreSpec(100 << 20, 30 * 86_400.0, "drop_oldest", "1s")


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ("{max_bytes: 100}", "'max_bytes': a size needs its unit"),
        ("{max_bytes: 5KiB}", "at least 1MiB"),
        ("{max_age: 30}", "'max_age': a duration needs its unit; write 30ms or 30s"),
        ("{when_full: drop}", "'when_full' must be 'block' or 'drop_oldest'"),
        ("{sync: soon}", "'soon' is not a duration"),
        ("{sync: 5m}", "at most 2m"),
        ("{whenfull: block}", "did you mean 'when_full'?"),
        ("[]", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_said_once(fails, good, store: str, reason: str) -> None:
    """Each fault has its place and says what to write."""
    (fault,) = fails(f"{good}store: {store}\n")
    assert reason in fault
    assert fault.startswith(f"{len(good.splitlines()) + 1}:")
