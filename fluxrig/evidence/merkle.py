"""Merkle trees as RFC 6962 §2.1 and RFC 9162 §2.1 define them, over SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

LEAF: Final = b"\0"
NODE: Final = b"\1"


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry; the prefix keeps it from ever passing for a node."""
    return sha256(LEAF + entry).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Give the root over leaf hashes; of no leaves it is the hash of nothing."""
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else sha256().digest()


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Give the hashes from the leaf at `index` up to the root, the lowest first (RFC 9162 §2.1.3.1)."""
    path, level = [], leaves
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        level, index = _above(level), index >> 1
    return path


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Give the root that a path leads to (RFC 9162 §2.1.3.2). Raises ValueError when it fits no such tree."""
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside of a tree of {size}")
    steps, node, last = iter(path), leaf, size - 1
    try:
        while last:
            if index & 1:
                node = sha256(NODE + next(steps) + node).digest()
            elif index < last:
                node = sha256(NODE + node + next(steps)).digest()
            index, last = index >> 1, last >> 1
    except StopIteration:
        raise ValueError("the path is too short") from None
    if next(steps, None) is not None:
        raise ValueError("the path is too long")
    return node


def _above(level: Sequence[bytes]) -> list[bytes]:
    """Pair up one level; an odd node at the end moves up as it is."""
    twos = zip(level[::2], level[1::2], strict=False)
    pairs = [sha256(NODE + left + right).digest() for left, right in twos]
    return [*pairs, level[-1]] if len(level) & 1 else pairs
