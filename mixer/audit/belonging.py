"""Whether a message belongs to the Rack that it came from.

A Rack may have been taken over, and it owns its leaf: what it stores there, headers, subject and messages,
says what the Rack likes. The hub alone adds by which of its sources the message came. What does not fit that
goes to the quarantine, so that no Rack can speak for another, or use up another's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fluxrig.bus import Stored, mark_of
from fluxrig.bus.headers import CLAIMED
from fluxrig.message import ERROR
from fluxrig.uns import SUBJECT_PREFIX, from_subject
from mixer.audit.origin import Origin

_DATA: Final = f"{SUBJECT_PREFIX}."


def claim_fault(stored: Stored, origin: Origin) -> str:
    """Say why a stored message is not of the Rack that its headers name, or ""."""
    source = stored.source
    if source is None:
        return "the hub does not say by which source it came"
    if CLAIMED in (stored.headers or {}):
        return "its headers name a source besides that of the hub"
    if origin.rack is None or source.mark != mark_of(origin.rack):
        return f"it came by the source of {source.root}, which is not that of Rack {origin.rack}"
    if not source.takes(stored.subject):
        return f"the subject {stored.subject} is outside of {source.root}, which Rack {origin.rack} has"
    return ""


def message_fault(subject: str, origin: Origin, fields: Mapping[str, Any]) -> str:
    """Say why a fluxMsg does not belong into what its Rack stored on `subject`, or ""."""
    src = fields["src"]
    if src.partition("/")[0] != origin.rack:
        return f"a message of Rack {origin.rack} names {src!r} as its source"
    if not subject.startswith(_DATA):
        schema = fields["schema"]
        return "" if schema == ERROR else f"a message of the schema {schema!r} is no dead letter"
    if fields["uns"] != from_subject(subject):
        return f"a message of the asset {fields['uns']!r} is not of the subject {subject}"
    return ""
