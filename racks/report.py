"""What a Rack says of itself: counters of its gears, and how far its messages got."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from fluxrig.bus import DEAD, UNS
from fluxrig.clock import Clock
from fluxrig.rackfile.model import UPLINK, RackSpec
from racks.engine import Engine
from racks.node import Node
from racks.record import State
from racks.snake import Snake
from racks.store import Store
from racks.uplink import Uplink
from racks.worker.isolated import Isolated

REPORT: Final = "report.json"
"""In a Rack's state folder: the report of the Rack that runs on it, or ran last."""
REPORT_S: Final = 0.5

log = logging.getLogger("fluxrig.rack")


@dataclass(frozen=True, slots=True)
class Report:
    """What a Rack has done since it started. `first_seq` to `last_seq` are the numbers its leaf gave."""

    rack: str
    leaf: str
    """The id of the leaf's store, as in the audit's column `leaf`."""
    accepted: int
    """Messages that the uplink said yes to: stored by the leaf, and their receipts settled."""
    first_seq: int | None
    last_seq: int | None
    dead_letters: int
    snake: str | None
    """`up`, `down`, or None for a Rack on its own."""
    committed: int | None
    """How many messages of this leaf's whole life the Mixer has in Parquet."""
    unsettled: int
    gears: dict[str, dict[str, Any]] = field(default_factory=dict)
    pid: int = 0
    uns: str = ""
    started_ns: int = 0
    written_ns: int = 0
    """When this was, ns since the Unix epoch."""
    link: Mapping[str, Any] | None = None
    """To the Mixer: `up`, `since_ns`, `to`, `last_error`; None for a Rack on its own."""
    store: Mapping[str, Any] = field(default_factory=dict)
    """The leaf's store: its settings, and its streams as in `racks.store.StreamHealth`."""

    @property
    def failed(self) -> list[str]:
        """Gears that stopped for good."""
        return [name for name, gear in self.gears.items() if gear["state"] == State.FAILED]


class Reporter:
    """Reads a running Rack's counters."""

    def __init__(
        self,
        spec: RackSpec,
        engine: Engine,
        store: Store,
        clock: Clock,
        *,
        leaf_trouble: Callable[[], str],
        mixer: Callable[[], str] = str,
    ) -> None:
        """`leaf_trouble` gives the last thing that kept the leaf's server from working, or "".

        `mixer` gives the address by which the Mixer is reached.
        """
        self.snake: Snake | None = None
        self._leaf_trouble, self._mixer = leaf_trouble, mixer
        self._spec, self._engine, self._store, self._clock = spec, engine, store, clock
        self._readings, self._letters = store.publishers[UNS], store.publishers[DEAD]
        self._first_seq, self._first_letter = self._readings.next_number, self._letters.next_number
        self._started_ns = clock.now_ns()

    def now(self) -> Report:
        stored = self._readings.next_number - self._first_seq
        return Report(
            rack=self._spec.name,
            leaf=self._readings.leaf,
            accepted=cast("Uplink", self._engine.nodes[UPLINK].gear).accepted,
            first_seq=self._first_seq if stored else None,
            last_seq=self._readings.next_number - 1 if stored else None,
            dead_letters=self._letters.next_number - self._first_letter,
            snake=None if self.snake is None else "up" if self.snake.up else "down",
            committed=None if self.snake is None else self.snake.committed[UNS],
            unsettled=self._engine.unsettled,
            gears={name: _of_gear(node) for name, node in self._engine.nodes.items()},
            pid=os.getpid(),
            uns=self._spec.uns,
            started_ns=self._started_ns,
            written_ns=self._clock.now_ns(),
            link=self._link(),
            store=self._of_store(),
        )

    def health(self) -> dict[str, Any]:
        """Give what the Mixer hears with each heartbeat."""
        failed = [name for name, node in self._engine.nodes.items() if node.state is State.FAILED]
        return {"streams": self._streams(), "failed": failed, "store": asdict(self._spec.store)}

    async def answer(self, *_: object) -> bytes:
        """Answer a ping: how this Rack is."""
        clock_ns = self._clock.now_ns()
        return json.dumps({"rack": self._spec.name, "clock_ns": clock_ns, "health": self.health()}).encode()

    async def keep_writing(self, paths: list[Path]) -> None:
        """Write reports twice a second until cancelled. A report that can't be written stops nothing."""
        told: set[Path] = set()
        while True:
            report = self.now()
            for path in paths:
                try:
                    write_report(path, report)
                except OSError as error:
                    if path not in told:
                        log.warning("can't write the report %s: %s", path, error.strerror)
                    told.add(path)
            await asyncio.sleep(REPORT_S)

    def _link(self) -> dict[str, Any] | None:
        if self.snake is None or self._spec.snake is None:
            return None
        return {
            "up": self.snake.up,
            "since_ns": self.snake.since_ns,
            "to": self._mixer(),
            "last_error": self.snake.last_error,
        }

    def _of_store(self) -> dict[str, Any]:
        return {
            **asdict(self._spec.store),
            "streams": self._streams(),
            "disk_free": shutil.disk_usage(self._store.leaf.store_dir).free,
            "server_restarts": self._store.leaf.restarts,
            "trouble": self._leaf_trouble(),
        }

    def _streams(self) -> dict[str, Any]:
        return {stream: asdict(health) for stream, health in self._store.health.items()}


def write_report(path: Path, report: Report) -> None:
    """Replace a report file, so that a reader never sees half of one."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(asdict(report)), encoding="utf-8")
    draft.replace(path)


def _of_gear(node: Node) -> dict[str, Any]:
    return {
        "state": node.state.value,
        "in": node.counters.received,
        "out": node.counters.emitted,
        "rejected": node.counters.rejected,
        "dropped": sum(wire.dropped for wire in node.inbox.wires),
        "errors": node.counters.errors,
        "last_error": node.last_error,
        "worker": node.gear.pid if isinstance(node.gear, Isolated) else None,
    }
