"""The streams of a Rack's leaf and of the hub, and how the hub sources the one from the other."""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.bus.connection import ApiError, Bus
from fluxrig.bus.leaf_record import LeafRecord
from fluxrig.bus.stream_files import keep_copies, put_back
from fluxrig.size import format_size

UNS: Final = "UNS"
DEAD: Final = "DEAD"
SUBJECTS: Final = {UNS: "fluxrig.uns", DEAD: "fluxrig.dead"}
LEAF_ID: Final = "fluxrig.leaf"
RACK: Final = "fluxrig.rack"
_NOT_FOUND: Final = 10059
_DUPLICATE_WINDOW_NS: Final = 100_000_000  # the least allowed: exactness does not rest on message ids
_SMALLEST_BYTES: Final = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeafLimits:
    """What a leaf keeps of each stream, and what happens when that is full."""

    max_bytes: int = 8 << 30
    """Of UNS; DEAD has an eighth of it, at most 1 GiB."""
    max_age_s: float | None = None
    drops_oldest: bool = False
    """Else a full stream refuses what is new, so that its publisher waits: nothing accepted is dropped."""

    def of(self, stream: str, room: int) -> dict[str, Any]:
        """Give the limits of a stream on a disk with `room` bytes for it, as the server takes them."""
        asked = self.max_bytes if stream == UNS else min(self.max_bytes // 8, 1 << 30)
        return {
            "max_bytes": max(min(asked, room // (2 if stream == UNS else 8)), _SMALLEST_BYTES),
            "max_age": int((self.max_age_s or 0) * 1e9),
            "discard": "old" if self.drops_oldest else "new",
        }


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a stream holds. `last_seq` is `first_seq - 1` while it is empty; `created` is RFC 3339."""

    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    created: str


async def stream_state(bus: Bus, name: str) -> StreamState:
    """ApiError when there is no such stream."""
    info = await bus.api(f"STREAM.INFO.{name}")
    state = info["state"]
    return StreamState(
        state["messages"], state["bytes"], state["first_seq"], state["last_seq"], info["created"]
    )


async def stream_limits(bus: Bus, name: str) -> tuple[int, int]:
    """Give how many bytes a stream holds, and how many it may. ApiError when there is no such stream."""
    info = await bus.api(f"STREAM.INFO.{name}")
    return info["state"]["bytes"], info["config"]["max_bytes"]


async def mend_leaf_streams(bus: Bus, store_dir: Path) -> list[str]:
    """Put back the descriptions of streams that the server does not know though their messages are there.

    Give the names of those streams: the server knows them once it has started again.
    """
    known = (await bus.api("STREAM.NAMES")).get("streams") or []
    return put_back(store_dir, SUBJECTS.keys() - set(known))


async def ensure_leaf_streams(
    bus: Bus, rack: str, store_dir: Path, limits: LeafLimits = LeafLimits()
) -> None:
    """Make UNS and DEAD on a leaf where they are missing, and hold those that are there to the limits.

    Neither stream may take more than its share of what is free on the disk.
    """
    for name, prefix in SUBJECTS.items():
        wanted = limits.of(name, shutil.disk_usage(store_dir).free)
        record = LeafRecord.load(record_path(store_dir, name))
        info = await ensure_stream(
            bus,
            name,
            subjects=[f"{prefix}.>"],
            metadata={RACK: rack, LEAF_ID: secrets.token_hex(8)},
            first_seq=max(time.time_ns() // 1000, record.reserved + 1),
            **wanted,
        )
        await _limit(bus, info, limits.of(name, shutil.disk_usage(store_dir).free + info["state"]["bytes"]))
    keep_copies(store_dir)


async def _limit(bus: Bus, info: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Change the limits of a stream. Where nothing may be dropped it never gets smaller than it is full."""
    config, used = info["config"], info["state"]["bytes"]
    if wanted["discard"] == "new" and wanted["max_bytes"] < used:
        _log.warning(
            "%s holds %s, more than the %s that it may: it takes nothing until some of it is in Parquet",
            config["name"],
            format_size(used),
            format_size(wanted["max_bytes"]),
        )
        wanted = wanted | {"max_bytes": used}
    if any(config.get(key, 0) != value for key, value in wanted.items()):
        await bus.api(f"STREAM.UPDATE.{config['name']}", config | wanted)


def record_path(store_dir: Path, stream: str) -> Path:
    """Give where the record of a leaf's stream is."""
    return store_dir / f"{stream}.record.json"


async def ensure_hub_streams(bus: Bus, replicas: int = 1) -> None:
    """Make UNS and DEAD on the hub where they are missing, each on `replicas` servers of a cluster.

    Those that are there are brought to that number; their consumers are on as many. ApiError when there are
    not so many servers. The streams have no subjects: they take from their sources alone, and raise no
    interest that would draw live messages over the leaf links as well.
    """
    for name in SUBJECTS:
        config = (await ensure_stream(bus, name, num_replicas=replicas))["config"]
        if config["num_replicas"] != replicas:
            await bus.api(f"STREAM.UPDATE.{name}", config | {"num_replicas": replicas})


async def limit_hub_streams(bus: Bus, disk: Path, projects: int) -> None:
    """Hold a project's streams to their part of the hub's disk, which `projects` of them share.

    A stream that is full takes nothing until it is trimmed, and its sources go on where they were: what it
    has no room for waits on the leaves. A full disk would stop all streams, also from being emptied.
    """
    for name in SUBJECTS:
        info = await bus.api(f"STREAM.INFO.{name}")
        room = (shutil.disk_usage(disk).free + info["state"]["bytes"]) // projects
        share = max(room // (2 if name == UNS else 8), _SMALLEST_BYTES)
        await _limit(bus, info, {"max_bytes": share, "discard": "new"})


async def ensure_stream(bus: Bus, name: str, **config: Any) -> dict[str, Any]:
    """Make a file-backed stream unless it is there; one that is there is left as it is. Give its info.

    Sequences start at the time of making, in microseconds. So a stream made anew after its store was lost
    goes on above every sequence of the old one, and whoever remembers a position there misses nothing.
    """
    try:
        return await bus.api(f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.code != _NOT_FOUND:
            raise
    wanted = {
        "name": name,
        "storage": "file",
        "retention": "limits",
        "num_replicas": 1,
        "first_seq": time.time_ns() // 1000,
        "duplicate_window": _DUPLICATE_WINDOW_NS,
    }
    return await bus.api(f"STREAM.CREATE.{name}", wanted | config)


async def renew_leaf_id(bus: Bus, info: dict[str, Any]) -> dict[str, Any]:
    """Start a new run of message numbers in a stream that has no message to count on from."""
    config = info["config"]
    config["metadata"] = config.get("metadata", {}) | {LEAF_ID: secrets.token_hex(8)}
    return await bus.api(f"STREAM.UPDATE.{config['name']}", config)
