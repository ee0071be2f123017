"""What is remembered between messages stays small and never changes a result."""

from __future__ import annotations

from fluxrig.cbor.cache import MAX_SHAPES, MAX_TEXT_SIZE, MAX_TEXTS, Shapes, Texts


def test_texts_are_bounded_in_number_and_size() -> None:
    """However many texts come, and however long they are, the cache keeps few and short ones."""
    texts = Texts(b"!")
    for number in range(2 * MAX_TEXTS + 10):
        assert texts[str(number)] == b"!" + bytes((0x60 | len(str(number)),)) + str(number).encode()
        assert len(texts) <= MAX_TEXTS
    size = len(texts)
    assert texts["x" * MAX_TEXT_SIZE][:3] == b"!\x78\x80"
    assert len(texts) == size


def test_shapes_are_bounded_in_number_and_size() -> None:
    """However many kinds of map come, and however wide they are, the cache keeps few and small ones."""
    shapes = Shapes()
    for number in range(2 * MAX_SHAPES + 10):
        assert shapes[(str(number), "a")] is not None
        assert len(shapes) <= MAX_SHAPES
    size = len(shapes)
    wide = shapes[tuple(f"tag-{number}" for number in range(1000))]
    assert wide is not None
    assert len(wide[0]) == 2000
    assert len(shapes) == size


def test_shapes_leave_other_keys_alone() -> None:
    """A map with a key that is not plain text has no shape, so 1, 1.0 and True can't be mixed up."""
    shapes = Shapes()
    assert shapes[(1, "a")] is None  # type: ignore[index]
    assert not shapes
