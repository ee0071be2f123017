"""What a Rack says of itself: counters of its gears, and how far its messages got."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from fluxrig.bus import UNS, Publisher
from fluxrig.rackfile.model import UPLINK
from racks.engine import Engine
from racks.node import Node
from racks.record import State
from racks.snake import Snake
from racks.uplink import Uplink
from racks.worker.isolated import Isolated

REPORT_S = 0.5

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

    @property
    def failed(self) -> list[str]:
        """Gears that stopped for good."""
        return [name for name, gear in self.gears.items() if gear["state"] == State.FAILED]


class Reporter:
    """Reads a running Rack's counters."""

    def __init__(
        self, rack: str, engine: Engine, readings: Publisher, letters: Publisher, snake: Snake | None
    ) -> None:
        self._rack, self._engine, self._snake = rack, engine, snake
        self._readings, self._letters = readings, letters
        self._first_seq, self._first_letter = readings.next_number, letters.next_number

    def now(self) -> Report:
        stored = self._readings.next_number - self._first_seq
        return Report(
            rack=self._rack,
            leaf=self._readings.leaf,
            accepted=cast("Uplink", self._engine.nodes[UPLINK].gear).accepted,
            first_seq=self._first_seq if stored else None,
            last_seq=self._readings.next_number - 1 if stored else None,
            dead_letters=self._letters.next_number - self._first_letter,
            snake=None if self._snake is None else "up" if self._snake.up else "down",
            committed=None if self._snake is None else self._snake.committed[UNS],
            unsettled=self._engine.unsettled,
            gears={name: _of_gear(node) for name, node in self._engine.nodes.items()},
        )

    async def keep_writing(self, path: Path) -> None:
        """Write a report twice a second until cancelled. A report that can't be written stops nothing."""
        told = False
        while True:
            try:
                write_report(path, self.now())
            except OSError as error:
                if not told:
                    log.warning("can't write the report %s: %s", path, error.strerror)
                told = True
            await asyncio.sleep(REPORT_S)


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
