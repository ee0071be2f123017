"""The Racks: who asked to be let in, who was, with which keys, and which part of the UNS is whose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from fluxrig.clock import Clock, SystemClock
from fluxrig.durable import write_durably
from fluxrig.errors import FluxrigError
from fluxrig.identity.keys import PublicKeys
from mixer.enrolment.refusal import Refusal

MAX_RACKS: Final = 10_000
MAX_RETIRED: Final = 50


class State(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    REJECTED = "rejected"


@dataclass(slots=True)
class Asked:
    """Keys that wait for a decision. A Rack that has keys already may ask for new ones to replace them."""

    keys: PublicKeys
    uns: str
    address: str
    version: str
    token: str
    at_ns: int


@dataclass(slots=True)
class Retired:
    """Keys that are good for nothing any more, whatever else is shown with them."""

    keys: PublicKeys
    why: str
    at_ns: int


@dataclass(slots=True)
class Rack:
    """One Rack as the Mixer knows it. Times are ns since the Unix epoch, 0 for never."""

    project: str
    rack: str
    uns: str
    """The UNS prefix that is its own."""
    state: State
    keys: PublicKeys | None = None
    asked: Asked | None = None
    retired: list[Retired] = field(default_factory=list)
    decided_by: str = ""
    decided_ns: int = 0
    reason: str = ""
    serial: str = ""
    """Of its newest certificate, hex."""
    certificate_end_s: float = 0.0
    address: str = ""
    """Where it was last seen from."""
    version: str = ""
    leaves: dict[str, str] = field(default_factory=dict)
    """By stream: the id of the Rack's store."""
    first_seen_ns: int = 0
    last_seen_ns: int = 0

    @property
    def holds_prefix(self) -> bool:
        """Tell whether its UNS prefix is taken by it."""
        return self.state not in {State.REVOKED, State.REJECTED}

    def retire(self, keys: PublicKeys, why: str, now_ns: int) -> None:
        self.retired = [*self.retired, Retired(keys, why, now_ns)][-MAX_RETIRED:]


_FILE: Final = TypeAdapter(list[Rack])


class Registry:
    """All Racks of all projects, kept in one file. What an operator decides is on disk at once."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._racks = {(rack.project, rack.rack): rack for rack in _load(path)}
        self._watchers: list[Callable[[Rack], None]] = []

    def find(self, project: str, rack: str) -> Rack | None:
        return self._racks.get((project, rack))

    def of(self, project: str) -> list[Rack]:
        """Give a project's Racks."""
        return [rack for rack in self._racks.values() if rack.project == project]

    def all(self) -> list[Rack]:
        return list(self._racks.values())

    def holder(self, nats_key: str) -> Rack | None:
        """Give the Rack that has, asked with, or once had this NATS key."""
        return next((rack for rack in self._racks.values() if _knows(rack, nats_key)), None)

    def watch(self, callback: Callable[[Rack], None]) -> None:
        """Have `callback` run after a Rack's state or keys have changed."""
        self._watchers.append(callback)

    def objection(self, project: str, rack: str, keys: PublicKeys) -> str:
        """Say why a Rack with these keys may not come in, or ""."""
        known = self.find(project, rack)
        if known is None:
            return "no Rack of this name is enrolled"
        if retired := retired_as(known, keys):
            return f"its keys were {retired}"
        if known.state is not State.APPROVED:
            return f"it is {known.state}{f': {known.reason}' if known.reason else ''}"
        return "" if known.keys == keys else "it is enrolled with other keys"

    def ask(self, project: str, rack: str, asked: Asked) -> Rack:
        """Note that keys wait for a decision. Raises Refusal when the name or the prefix can't be had."""
        known = self.find(project, rack)
        if known is None and len(self._racks) >= MAX_RACKS:
            raise Refusal("full", f"this Mixer has {MAX_RACKS} Racks, which is its limit")
        self._check_prefix(project, rack, asked.uns, known)
        if known is None:
            known = self._racks[project, rack] = Rack(project, rack, asked.uns, State.PENDING)
        if known.keys is None:
            known.uns, known.state, known.reason = asked.uns, State.PENDING, ""
        elif known.state is State.REVOKED:
            known.uns = asked.uns
        known.asked = asked
        self.save()
        return known

    def approve(self, rack: Rack, by: str) -> None:
        """Let in the keys that wait. Those that the Rack had are retired."""
        if rack.asked is None:
            raise FluxrigError(f"Rack {rack.rack} is {rack.state} and waits for nothing")
        self._check_prefix(rack.project, rack.rack, rack.asked.uns, rack)
        if rack.keys is not None and rack.keys != rack.asked.keys and not retired_as(rack, rack.keys):
            rack.retire(rack.keys, "replaced", self._clock.now_ns())
        rack.keys, rack.uns, rack.address = rack.asked.keys, rack.asked.uns, rack.asked.address
        rack.version, rack.asked = rack.asked.version, None
        self._decide(rack, State.APPROVED, by)

    def reject(self, rack: Rack, by: str, reason: str = "") -> None:
        """Turn down the keys that wait. A Rack that was let in before stays as it is."""
        if rack.asked is None:
            raise FluxrigError(f"Rack {rack.rack} is {rack.state} and waits for nothing; revoke puts it out")
        rack.retire(rack.asked.keys, "rejected", self._clock.now_ns())
        rack.asked = None
        self._decide(rack, State.REJECTED if rack.keys is None else rack.state, by, reason)

    def suspend(self, rack: Rack, by: str, reason: str = "") -> None:
        """Keep a Rack out until it is resumed."""
        if rack.state is not State.APPROVED:
            raise FluxrigError(f"Rack {rack.rack} is {rack.state}; only an approved one can be suspended")
        self._decide(rack, State.SUSPENDED, by, reason)

    def resume(self, rack: Rack, by: str) -> None:
        if rack.state is not State.SUSPENDED:
            raise FluxrigError(f"Rack {rack.rack} is {rack.state}, not suspended")
        self._decide(rack, State.APPROVED, by)

    def revoke(self, rack: Rack, by: str, reason: str = "") -> None:
        """Put a Rack out for good: its keys are never taken again. A new join token lets in new keys."""
        if rack.state is State.REVOKED and rack.asked is None:
            raise FluxrigError(f"Rack {rack.rack} is revoked already")
        now_ns = self._clock.now_ns()
        for keys in _present(rack):
            if not retired_as(rack, keys):
                rack.retire(keys, "revoked", now_ns)
        rack.asked = None
        self._decide(rack, State.REVOKED, by, reason)

    def issued(self, rack: Rack, serial: str, end_s: float) -> None:
        """Note the newest certificate of a Rack."""
        rack.serial, rack.certificate_end_s = serial, end_s
        self.save()

    def seen(self, rack: Rack, *, version: str, leaves: dict[str, str]) -> None:
        """Note that a Rack is there. Times alone are saved with other news, and at the end."""
        now_ns = self._clock.now_ns()
        is_news = not rack.first_seen_ns or (rack.version, rack.leaves) != (version, leaves)
        rack.first_seen_ns = rack.first_seen_ns or now_ns
        rack.last_seen_ns = max(rack.last_seen_ns, now_ns)
        rack.version, rack.leaves = version, leaves
        if is_news:
            self.save()

    def save(self) -> None:
        """Write the file. OSError when the disk refuses."""
        write_durably(self._path, _FILE.dump_json(list(self._racks.values()), indent=1))

    def _decide(self, rack: Rack, state: State, by: str, reason: str = "") -> None:
        rack.state, rack.reason = state, reason
        rack.decided_by, rack.decided_ns = by, self._clock.now_ns()
        try:
            self.save()
        finally:  # what was decided holds from now on, also when the disk refuses
            for callback in self._watchers:
                callback(rack)

    def _check_prefix(self, project: str, rack: str, uns: str, known: Rack | None) -> None:
        if known is not None and known.first_seen_ns and known.uns != uns:
            raise Refusal(
                "uns-fixed",
                f"Rack {rack} has sent data below {known.uns}, so it can't be enrolled for {uns}; "
                "enrol it under another name",
            )
        for other in self.of(project):
            if other.rack != rack and other.holds_prefix and overlap(other.uns, uns):
                raise Refusal(
                    "uns-taken",
                    f"the UNS path {uns} overlaps {other.uns}, which belongs to Rack {other.rack}; "
                    "give this Rack a path of its own",
                )


def retired_as(rack: Rack, keys: PublicKeys) -> str:
    """Say what became of keys that are good no more (revoked, replaced, rejected), or ""."""
    gone = [one for one in rack.retired if one.keys.nats == keys.nats or one.keys.tls == keys.tls]
    return gone[-1].why if gone else ""


def overlap(one: str, other: str) -> bool:
    """Tell whether one UNS path is, or lies below, the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _knows(rack: Rack, nats_key: str) -> bool:
    return any(keys.nats == nats_key for keys in (*_present(rack), *(one.keys for one in rack.retired)))


def _present(rack: Rack) -> list[PublicKeys]:
    asked = rack.asked.keys if rack.asked else None
    return [keys for keys in (rack.keys, asked) if keys is not None]


def _load(path: Path) -> list[Rack]:
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError):
        raise FluxrigError(f"{path} can't be read; restore it from a backup (mixer restore)") from None
