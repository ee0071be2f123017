"""The promise of the product, on real processes: what a Rack accepted is in Parquet, once and in order.

`CHAOS_ROUNDS` and `CHAOS_SEED` in the environment make the storm longer, or repeat one.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from mixer.audit.query import query
from tests.processes import FLUXRIG, MIXER, Running, free_port, join_token, read_json, running, until

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "12"))
SEED = int(os.environ.get("CHAOS_SEED", secrets.randbelow(1 << 32)))

RACK_FILE = """
rack: line
uns: acme/lyon
snake: {}
gears:
  counter: {kind: simulate, rate: 3000, batch: 10, journal: journal}
wires:
  - counter -> uplink
"""


@dataclass
class Site:
    """A Rack and a Mixer, each of which can be killed and started again."""

    folder: Path
    stack: ExitStack
    environ: dict[str, str]
    rack: Running
    mixer: Running

    @classmethod
    def start(cls, folder: Path, stack: ExitStack, **environ: str) -> Self:
        (folder / "rack.yaml").write_text(
            RACK_FILE.replace("journal: journal", f"journal: {folder / 'journal'}")
        )
        environ["SNAKE_PORT"] = str(free_port())
        mixer = cls._start_mixer(folder, stack, environ)
        environ["FLUXRIG_JOIN"] = asyncio.run(join_token(folder / "mixer"))
        return cls(folder, stack, environ, cls._start_rack(folder, stack, environ), mixer)

    @staticmethod
    def _start_mixer(folder: Path, stack: ExitStack, environ: dict[str, str]) -> Running:
        listen = f"127.0.0.1:{environ['SNAKE_PORT']}"
        command = (
            *MIXER,
            "up",
            "--data",
            str(folder / "mixer"),
            "--listen",
            listen,
            "--enrol",
            "127.0.0.1:0",
            "--commit-every",
            "200ms",
        )
        return stack.enter_context(running(command, folder / "mixer.log", **environ))

    @staticmethod
    def _start_rack(folder: Path, stack: ExitStack, environ: dict[str, str]) -> Running:
        places = ("--state", str(folder / "state"), "--report", str(folder / "report"), "--flush", "30s")
        command = (*FLUXRIG, "run", str(folder / "rack.yaml"), *places)
        return stack.enter_context(running(command, folder / "rack.log", **environ))

    def kill_rack(self) -> None:
        self.rack.kill()
        (self.folder / "report").unlink(missing_ok=True)
        self.rack = self._start_rack(self.folder, self.stack, self.environ)

    def kill_mixer(self) -> None:
        self.mixer.kill()
        self.mixer = self._start_mixer(self.folder, self.stack, self.environ)

    def kill_leaf(self) -> None:
        _kill_child(self.rack)

    def kill_hub(self) -> None:
        _kill_child(self.mixer)

    @property
    def accepted(self) -> int:
        return int(read_json(self.folder / "report").get("last_seq") or 0)

    @property
    def committed(self) -> int:
        return int(read_json(self.folder / "report").get("committed") or 0)

    def settled(self) -> Iterator[tuple[int, int]]:
        """Every (run, seq) whose receipt settled, as the source wrote it down."""
        for line in (self.folder / "journal").read_text().splitlines():
            run, first, last = map(int, line.split())
            yield from ((run, seq) for seq in range(first, last + 1))

    def stored(self) -> list[tuple[int, int, int, str]]:
        """(run, seq, leaf_seq, id) of every row, in the order of the hub's stream."""
        sql = """SELECT (data->>'$.run')::BIGINT, (data->>'$.seq')::BIGINT, leaf_seq, id
                 FROM messages ORDER BY stream_seq, leaf_seq"""
        with query(self.folder / "mixer" / "audit", sql) as reader:
            return [tuple(row.values()) for batch in reader for row in batch.to_pylist()]

    def check_ledger(self) -> None:
        """Hold what is in Parquet against what the source was told is safe."""
        settled, stored = set(self.settled()), self.stored()
        keys = [(run, seq) for run, seq, _, _ in stored]
        lost = settled - set(keys)
        assert not lost, f"{len(lost)} of {len(settled)} are lost, {sorted(lost)[:5]}…"
        assert len(keys) == len(set(keys)) == len({id_ for *_, id_ in stored}), "some are there twice"
        assert keys == sorted(keys), "out of order"
        numbers = [number for _, _, number, _ in stored]
        assert numbers == list(range(len(stored))), "the leaf's numbers have a gap"
        assert "Traceback" not in self.rack.said() + self.mixer.said()


def _kill_child(process: Running) -> None:
    if (child := process.child()) is not None:
        os.kill(child, signal.SIGKILL)


@pytest.mark.timeout(600)
def test_what_was_accepted_is_in_parquet_once_and_in_order(tmp_path: Path) -> None:
    """Rack, leaf, Mixer and hub are killed with -9 at random moments; the ledger still balances."""
    dice = random.Random(SEED)
    print(f"CHAOS_SEED={SEED} CHAOS_ROUNDS={ROUNDS}")
    with ExitStack() as stack:
        site = Site.start(tmp_path, stack)
        until(lambda: site.accepted > 1000, "the first messages", 60)
        kills: list[Callable[[Site], None]] = [Site.kill_rack, Site.kill_leaf, Site.kill_mixer, Site.kill_hub]
        plan = [kills[turn % 4] for turn in range(ROUNDS)]
        dice.shuffle(plan)
        for kill in plan:
            time.sleep(dice.uniform(0.05, 1.2))  # when a kill comes is what the test draws
            kill(site)
        after_storm = 5000 + until(lambda: site.accepted, "the Rack after the storm", 60)  # reports lag
        until(lambda: site.committed > after_storm, "messages of after the storm in Parquet", 120)
        code, _ = site.rack.stop(limit_s=60)
        assert code == 0, site.rack.said()
        assert site.mixer.stop(limit_s=60)[0] == 0, site.mixer.said()
    site.check_ledger()
