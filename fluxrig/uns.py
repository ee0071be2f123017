"""UNS paths: ISA-95 names from the enterprise down to the asset, and the NATS subjects they map to.

`acme/lyon/stamping/line-3/press` is published on `fluxrig.uns.acme.lyon.stamping.line-3.press`.
A segment may hold any printable character except those with a meaning in a path or a subject.
"""

from __future__ import annotations

SUBJECT_PREFIX = "fluxrig.uns"
MAX_SEGMENT = 64
MAX_PATH = 512
_RESERVED = frozenset("./*>$\\\"'")


def segment_fault(segment: str) -> str | None:
    """Say what is wrong with one path segment, or None."""
    if not segment:
        return "a UNS segment is empty; write names with single slashes between them, such as acme/lyon/press"
    if len(segment) > MAX_SEGMENT:
        return f"UNS segment {segment[:16]!r}… is longer than {MAX_SEGMENT} characters"
    for char in segment:
        if char in _RESERVED or char.isspace() or not char.isprintable():
            return f"UNS segment {segment!r} holds {char!r}; use letters, digits, '-' and '_'"
    return None


def path_fault(path: str) -> str | None:
    """Say what is wrong with a path, or None."""
    if len(path) > MAX_PATH:
        return f"the UNS path is longer than {MAX_PATH} characters"
    return next((fault for fault in map(segment_fault, path.split("/")) if fault), None)


def to_subject(path: str) -> str:
    """Give the subject of a path that `path_fault` passed."""
    return f"{SUBJECT_PREFIX}.{path.replace('/', '.')}"


def from_subject(subject: str) -> str:
    """Give the path of a subject made by `to_subject`."""
    return subject.removeprefix(f"{SUBJECT_PREFIX}.").replace(".", "/")
