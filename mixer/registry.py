"""The Racks that have registered: who they are, which part of the UNS is theirs, when they were last seen."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fluxrig.bus.store import write_private
from fluxrig.clock import Clock, SystemClock
from fluxrig.errors import FluxrigError
from fluxrig.uns import path_fault

MAX_RACKS: Final = 10_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Refused(FluxrigError):
    """A registration that can't be taken, and why."""


def _rack_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a Rack's name has 1 to 64 letters, digits, '-' and '_'")
    return name


def _uns_path(path: str) -> str:
    if fault := path_fault(path):
        raise ValueError(fault)
    return path


class Registration(BaseModel):
    """What a Rack says when it registers."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer Rack may say more

    rack: Annotated[str, AfterValidator(_rack_name)]
    uns: Annotated[str, AfterValidator(_uns_path)]
    leaves: Annotated[dict[str, Annotated[str, Field(max_length=128)]], Field(max_length=4)] = {}
    """By stream: the id of the Rack's store."""
    version: Annotated[str, Field(max_length=64)] = ""

    @classmethod
    def parse(cls, payload: bytes) -> Registration:
        """Read a request. Raises Refused."""
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Refused(f"{where}: {first['msg']}" if where else first["msg"]) from None


@dataclass(slots=True)
class Rack:
    """One Rack as the Mixer knows it. Times are ns since the Unix epoch."""

    rack: str
    uns: str
    leaves: dict[str, str]
    version: str
    first_seen_ns: int
    last_seen_ns: int


class Registry:
    """All Racks, kept in one file."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self.racks: dict[str, Rack] = {one.rack: one for one in _load(path)}

    def register(self, request: Registration) -> Rack:
        """Take a Rack, new or known. Raises Refused when its part of the UNS overlaps another's."""
        for other in self.racks.values():
            if other.rack != request.rack and overlap(other.uns, request.uns):
                raise Refused(
                    f"the UNS path {request.uns} overlaps {other.uns}, which belongs to Rack {other.rack}; "
                    "give this Rack a path of its own"
                )
        now_ns = self._clock.now_ns()
        known = self.racks.get(request.rack)
        if known is None and len(self.racks) >= MAX_RACKS:
            raise Refused(f"this Mixer has {MAX_RACKS} Racks, which is its limit")
        first_ns = known.first_seen_ns if known else now_ns
        rack = Rack(request.rack, request.uns, dict(request.leaves), request.version, first_ns, now_ns)
        is_news = known is None or (known.uns, known.leaves, known.version) != (
            rack.uns,
            rack.leaves,
            rack.version,
        )
        self.racks[rack.rack] = rack
        if is_news:
            self.save()
        return rack

    def save(self) -> None:
        """Write the file, whole or not at all. Last-seen times are saved with other news, and at the end."""
        write_private(self._path, json.dumps([asdict(rack) for rack in self.racks.values()], indent=1))


def overlap(one: str, other: str) -> bool:
    """Tell whether one UNS path is, or lies below, the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _load(path: Path) -> list[Rack]:
    try:
        return [Rack(**fields) for fields in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise FluxrigError(
            f"{path} can't be read ({error}); remove it: each Rack registers again by itself"
        ) from None
