"""UNS paths: what is a path, and which subject carries it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.uns import MAX_SEGMENT, from_subject, path_fault, segment_fault, to_subject


@pytest.mark.parametrize("path", ["acme", "acme/lyon/line-3/press", "Ümit/线/a_b", "a" * MAX_SEGMENT])
def test_good_paths(path: str) -> None:
    """Printable names with slashes between them."""
    assert path_fault(path) is None


@pytest.mark.parametrize(
    "path",
    ["", "/", "/a", "a/", "a//b", "a.b", "a b", "a*", ">", "$SYS", "a\tb", "a\x00", "a\\b", 'a"b', "a'b"],
)
def test_bad_paths(path: str) -> None:
    """Nothing empty, and nothing that means something in a subject or a path."""
    assert path_fault(path)


def test_bounds() -> None:
    """Segments and paths are bounded, and a long one is not repeated whole."""
    assert "longer than 64 characters" in (segment_fault("a" * 65) or "")
    assert len(segment_fault("a" * 10_000) or "") < 100
    assert "longer than 512 characters" in (path_fault("a/" * 256 + "b") or "")


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5).map("/".join))
def test_a_good_path_is_one_subject_and_back(path: str) -> None:
    """Each path that is allowed has a subject of as many tokens, and comes back from it."""
    if path_fault(path) is None:
        subject = to_subject(path)
        assert subject.count(".") == path.count("/") + 2
        assert not set(" \t\r\n*>") & set(subject)
        assert from_subject(subject) == path
