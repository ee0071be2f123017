"""The Mixer on a NATS cluster of the site's own, on real processes: nothing is lost with a node of it."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fluxrig.bus import UNS
from fluxrig.errors import BusError
from mixer.authority.identity import Authority
from tests.cluster import Cluster, cluster
from tests.processes import MIXER, Running, running, until
from tests.test_whole_path import Site

SEED = int(os.environ.get("CHAOS_SEED", secrets.randbelow(1 << 32)))
KILLS = int(os.environ.get("CHAOS_ROUNDS", "3"))


class Plant(Site):
    """A Rack, and a Mixer on a cluster."""

    @staticmethod
    def _start_mixer(folder: Path, stack: ExitStack, environ: dict[str, str]) -> Running:
        places = ("--data", str(folder / "mixer"), "--enrol", "127.0.0.1:0")
        command = (*MIXER, "up", *places, "--commit-every", "200ms", *environ["CLUSTER"].split())
        return stack.enter_context(running(command, folder / "mixer.log", **environ))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose leaf ports trust the Mixer that will be on `mixer` beside it."""
    authority = Authority.open(tmp_path / "mixer" / "identity")
    with cluster(tmp_path / "cluster", authority.folder / "ca.pem") as one:
        yield one


def leader(one: Cluster) -> int:
    """Give the node that leads the stream UNS, as soon as one does."""

    async def ask() -> str:
        with suppress(BusError, TimeoutError):  # a node that has just started may leave a question unanswered
            async with asyncio.timeout(1.0), await one.connect() as bus:
                info = await bus.api(f"STREAM.INFO.{UNS}")
                assert info["config"]["num_replicas"] == 3
                return str(info["cluster"].get("leader", ""))
        return ""

    return int(until(lambda: asyncio.run(ask()), "a leader").rpartition("-")[2])


@pytest.mark.timeout(300)
def test_a_killed_leader_takes_nothing_with_it(tmp_path: Path, nodes: Cluster) -> None:
    """The node that leads the hub's stream is killed with -9 under load, and again; the ledger balances."""
    dice = random.Random(SEED)
    print(f"CHAOS_SEED={SEED} CHAOS_ROUNDS={KILLS}")
    with ExitStack() as stack:
        plant = Plant.start(tmp_path, stack, CLUSTER=" ".join(nodes.options()))
        until(lambda: plant.committed > 1000, "the first messages in Parquet", 60)
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.05, 1.0))
            killed = leader(nodes)
            nodes.kill(killed)
            before = plant.committed
            until(lambda: plant.committed > before + 3000, "messages under the next leader", 60)  # noqa: B023
            nodes.start(killed)
        after_storm = 5000 + plant.accepted
        until(lambda: plant.committed > after_storm, "messages of after the storm in Parquet", 120)
        assert plant.rack.stop(limit_s=60)[0] == 0, plant.rack.said()
        assert plant.mixer.stop(limit_s=60)[0] == 0, plant.mixer.said()
    plant.check_ledger()
