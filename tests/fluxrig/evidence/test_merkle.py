"""Merkle trees are those of RFC 6962."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.evidence import inclusion_path, leaf_hash, root, root_of_path


def as_the_rfc_says(entries: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    left, right = as_the_rfc_says(entries[:split]), as_the_rfc_says(entries[split:])
    return sha256(b"\x01" + left + right).digest()


def test_the_root_known_from_certificate_transparency() -> None:
    """The eight entries that the reference implementation tests with give its root."""
    entries = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in entries]
    assert root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_the_root_is_that_of_the_definition(entries: list[bytes]) -> None:
    """Level by level gives what the recursive definition gives."""
    assert root([leaf_hash(entry) for entry in entries]) == as_the_rfc_says(entries)


@given(st.integers(1, 70), st.data())
def test_each_leaf_has_a_path_to_the_root_and_to_no_other(size: int, data: st.DataObject) -> None:
    """A path holds for its leaf at its index in a tree of its size, and for nothing else."""
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(leaves, index)
    assert root_of_path(leaves[index], index, size, path) == root(leaves)
    if size > 1:
        assert root_of_path(leaves[index - 1], index, size, path) != root(leaves)
        with pytest.raises(ValueError, match="short"):
            root_of_path(leaves[index], index, size, path[:-1])
    with pytest.raises(ValueError, match="long"):
        root_of_path(leaves[index], index, size, [*path, leaves[0]])
