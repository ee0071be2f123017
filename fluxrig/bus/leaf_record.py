"""What a leaf remembers of a stream outside of the stream itself, so that a loss in its store shows.

The file `<store>/<stream>.record.json` is replaced as a whole. `reserved` is on the disk before a sequence up
to it is given out; all else is written about once a second and may lag by that much.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from threading import Lock
from typing import Any, Final

RESERVE: Final = 4096
"""How many sequences are reserved at a time: the most that have to be skipped after a loss."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MOST_LOSSES: Final = 256


@dataclass(frozen=True, slots=True)
class Loss:
    """Numbers that left a leaf's store although the Mixer had not confirmed them; or never will be there.

    `reason` is `max_bytes`, `max_age` (policy: what the Rack file asks for) or `disk`.
    """

    leaf: str
    first: int
    last: int
    reason: str

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(slots=True)
class LeafRecord:
    """The record of one stream."""

    path: Path
    leaf: str = ""
    """The id under which numbers are given out now."""
    reserved: int = 0
    """No sequence above this was ever given out."""
    skip_to: int = 0
    """The stream must go on above this sequence: some up to it may have been given out before."""
    last_seq: int = 0
    next_number: int = 0
    front: int = 0
    """The number of the oldest message that the stream holds."""
    confirmed: int = 0
    """How many numbers the Mixer has in Parquet."""
    dropped: int = 0
    """Messages dropped by policy before they were confirmed, over the life of the store."""
    lost: int = 0
    """Messages that the disk lost before they were confirmed, over the life of the store."""
    boot: str = ""
    """The boot in which this was written; empty after the Rack stopped in an orderly way."""
    untold: list[Loss] = field(default_factory=list)
    """Losses that are not in the stream as events yet."""
    holes: list[tuple[int, int]] = field(default_factory=list)
    """Runs of sequences within the stream that are known to be lost."""
    _saving: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path) -> LeafRecord:
        """Read a record; a new one where there is none, or none that can be read."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            found["untold"] = [Loss(**one) for one in found["untold"]]
            found["holes"] = [(int(first), int(last)) for first, last in found["holes"]]
            return cls(**{name: found[name] for name in _KEPT if name in found}, path=path)
        return cls(path)

    @property
    def known(self) -> bool:
        """Whether a stream was seen before."""
        return bool(self.leaf)

    def save(self, *, sync: bool = False) -> None:
        """Replace the file. OSError when the disk refuses.

        Threads take turns, so that no older record takes the place of one with more reserved.
        """
        with self._saving:
            self._save(sync)

    def _save(self, sync: bool) -> None:
        told = {name: getattr(self, name) for name in _KEPT}
        told["untold"] = [asdict(loss) for loss in self.untold]
        draft = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(told, file)
            if sync:
                file.flush()
                os.fsync(descriptor)
        draft.replace(self.path)
        if sync:
            _sync_folder(self.path.parent)

    def reserve(self, seq: int) -> None:
        """Make sure that `seq` is not above what is reserved. OSError when the disk refuses."""
        if seq > self.reserved:
            before, self.reserved = self.reserved, seq + RESERVE
            try:
                self.save(sync=True)
            except OSError:
                self.reserved = before
                raise

    def add(self, loss: Loss) -> None:
        """Note a loss that is to be told. One that goes on where the last one ended is one with it."""
        if loss.reason == "disk":
            self.lost += loss.count
        else:
            self.dropped += loss.count
        if self.untold:
            last = self.untold[-1]
            follows = (last.leaf, last.reason, last.last + 1) == (loss.leaf, loss.reason, loss.first)
            if follows or len(self.untold) >= _MOST_LOSSES:
                self.untold[-1] = Loss(last.leaf, last.first, max(last.last, loss.last), last.reason)
                return
        self.untold.append(loss)

    def begin(self, leaf: str) -> None:
        """Go on under another id, whose numbers start at 0."""
        self.leaf, self.next_number, self.front, self.confirmed = leaf, 0, 0, 0


_KEPT: Final = [one.name for one in fields(LeafRecord) if one.name not in ("path", "_saving")]


def boot_id() -> str:
    """Give what tells this run of the machine from the one before; "" where the system does not say."""
    with suppress(OSError):
        return _BOOT_ID.read_text("ascii").strip()
    return ""


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
