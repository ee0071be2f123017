"""The streams of a Rack's leaf and of the hub, and how the hub sources the one from the other."""

from __future__ import annotations

import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.bus.connection import ApiError, Bus

UNS: Final = "UNS"
DEAD: Final = "DEAD"
SUBJECTS: Final = {UNS: "fluxrig.uns", DEAD: "fluxrig.dead"}
DEFAULT_MAX_BYTES: Final = {UNS: 8 << 30, DEAD: 1 << 30}
LEAF_ID: Final = "fluxrig.leaf"
RACK: Final = "fluxrig.rack"
_NOT_FOUND: Final = 10059
_DUPLICATE_WINDOW_NS: Final = 100_000_000  # the least allowed: exactness does not rest on message ids


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


async def ensure_leaf_streams(bus: Bus, rack: str, store_dir: Path) -> None:
    """Make UNS and DEAD on a leaf where they are missing.

    A full stream refuses what is new, so that its publisher waits: nothing accepted is dropped. Neither
    stream may take more than its share of what was free on the disk when it was made.
    """
    free = shutil.disk_usage(store_dir).free
    for name, prefix in SUBJECTS.items():
        limit = min(DEFAULT_MAX_BYTES[name], free // (2 if name == UNS else 8))
        await ensure_stream(
            bus,
            name,
            subjects=[f"{prefix}.>"],
            max_bytes=limit,
            discard="new",
            metadata={RACK: rack, LEAF_ID: secrets.token_hex(8)},
        )


async def ensure_hub_streams(bus: Bus) -> None:
    """Make UNS and DEAD on the hub where they are missing.

    They have no subjects: they take from their sources alone, and raise no interest that would draw live
    messages over the leaf links as well.
    """
    for name in SUBJECTS:
        await ensure_stream(bus, name)


async def ensure_stream(bus: Bus, name: str, **config: Any) -> None:
    """Make a file-backed stream unless it is there; one that is there is left as it is.

    Sequences start at the time of making, in microseconds. So a stream made anew after its store was lost
    goes on above every sequence of the old one, and whoever remembers a position there misses nothing.
    """
    try:
        await bus.api(f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.code != _NOT_FOUND:
            raise
    else:
        return
    wanted = {
        "name": name,
        "storage": "file",
        "retention": "limits",
        "num_replicas": 1,
        "first_seq": time.time_ns() // 1000,
        "duplicate_window": _DUPLICATE_WINDOW_NS,
    }
    await bus.api(f"STREAM.CREATE.{name}", wanted | config)


async def renew_leaf_id(bus: Bus, info: dict[str, Any]) -> dict[str, Any]:
    """Start a new run of message numbers in a stream that holds no message to count on from."""
    config = info["config"]
    config["metadata"] = config.get("metadata", {}) | {LEAF_ID: secrets.token_hex(8)}
    return await bus.api(f"STREAM.UPDATE.{config['name']}", config)
