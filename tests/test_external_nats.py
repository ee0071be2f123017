"""The Mixer on a NATS cluster of the site's own, on real processes: nothing is lost with a node of it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fluxrig.bus import UNS, binary
from fluxrig.errors import BusError, FluxrigError
from mixer.authority.identity import Authority
from mixer.enrolment.client import ask
from mixer.external_hub import External
from mixer.folder import Folder
from mixer.status import status
from tests.cluster import Cluster, cluster
from tests.processes import MIXER, Running, free_port, running, until
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
def ca(tmp_path: Path) -> Path:
    """The authority of the Mixer that will be on `mixer` in this test's folder."""
    return Authority.open(tmp_path / "mixer" / "identity").folder / "ca.pem"


@pytest.fixture
def nodes(tmp_path: Path, ca: Path) -> Iterator[Cluster]:
    """A cluster of three, whose leaf ports trust the Mixer."""
    with cluster(tmp_path / "cluster", ca) as one:
        yield one


@pytest.fixture
def node(tmp_path: Path, ca: Path) -> Iterator[Cluster]:
    """One server, whose leaf port trusts the Mixer."""
    with cluster(tmp_path / "cluster", ca, 1) as one:
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
        plant.kill_rack()
        after_storm = 5000 + plant.accepted
        until(lambda: plant.committed > after_storm, "messages of after the storm in Parquet", 120)
        assert plant.rack.stop(limit_s=60)[0] == 0, plant.rack.said()
        assert plant.mixer.stop(limit_s=60)[0] == 0, plant.mixer.said()
    plant.check_ledger()


def test_a_revoked_rack_is_taken_from_no_more(tmp_path: Path, ca: Path) -> None:
    """Where the Mixer can't put a Rack out it stops taking from it at once; commands work the same.

    The server speaks TLS to its clients.
    """

    async def sources() -> int:
        async with await node.connect() as bus:
            return len((await bus.api(f"STREAM.INFO.{UNS}"))["config"].get("sources") or [])

    with ExitStack() as stack:
        node = stack.enter_context(cluster(tmp_path / "cluster", ca, 1, tls=True))
        plant = Plant.start(tmp_path, stack, CLUSTER=" ".join(node.options()))
        until(lambda: plant.committed > 100, "the first messages in Parquet", 60)
        folder = Folder(tmp_path / "mixer")
        found = asyncio.run(status(folder))
        assert found["hub"]["connected"]
        assert [rack["rack"] for rack in found["racks"]] == ["line"]
        assert asyncio.run(sources()) == 1
        asyncio.run(ask(folder, {"verb": "revoke", "rack": "line", "by": "test"}))
        until(lambda: asyncio.run(sources()) == 0, "the end of the source")
        until(lambda: "is not enrolled" in plant.rack.said(), "the Rack hearing of it")


def refused(tmp_path: Path, *options: str) -> str:
    """Start a Mixer that can't, and give the one line that it ends with."""
    command = (*MIXER, "up", "--data", str(tmp_path / "mixer"), "--enrol", "127.0.0.1:0", *options)
    with running(command, tmp_path / "refused.log") as mixer:
        code, _ = mixer.wait(60)
        assert code != 0
        *_, last = mixer.said().strip().splitlines()
        assert last.startswith("error: ")
        assert "Traceback" not in mixer.said()
        return last


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, node: Cluster) -> None:
    """A slip in any of what the Mixer is given ends it with a line that says which."""
    right = _pairs(node.options())

    def with_(**other: str) -> str:
        changed = right | {f"--{name.replace('_', '-')}": value for name, value in other.items()}
        return refused(tmp_path, *(word for pair in changed.items() for word in pair))

    files = node.folder
    assert "connect call failed" in with_(nats=f"nats://127.0.0.1:{free_port()}").lower()
    assert "authorization violation" in with_(creds=str(files / "stranger.creds")).lower()
    assert "--account-key is refused" in with_(account_key=str(files / "stranger.nk"))
    assert "--replicas 3: JetStream refused STREAM.CREATE.UNS" in with_(replicas="3")
    assert "speaks no TLS" in with_(nats=node.urls.replace("nats:", "tls:"))


def test_what_is_wrong_with_a_file_is_said_before_anything_is_tried(tmp_path: Path, ca: Path) -> None:
    """A URL with a slip, files of another kind, and keys that others may read are errors at once."""
    files = Cluster(tmp_path / "cluster", ca, 1).folder
    creds, key = files / "mixer.creds", files / "signing.nk"
    url = "nats://127.0.0.1"
    for wrong in ("nat://127.0.0.1", "127.0.0.1", "nats://", "nats://h:99999", f"{url}, {url}", f"{url},"):
        with pytest.raises(FluxrigError, match="is not a URL"):
            External.load(wrong, creds)
    with pytest.raises(FluxrigError, match="no user and password"):
        External.load("nats://me:secret@127.0.0.1", creds)
    with pytest.raises(FluxrigError, match="is no credentials file"):
        External.load(url, key)
    with pytest.raises(FluxrigError, match="holds no seed of an account"):
        External.load(url, creds, account_key=creds)
    with pytest.raises(FluxrigError, match="holds no certificates"):
        External.load(url, creds, leaf_ca=key)
    with pytest.raises(FluxrigError, match="is not host:port"):
        External.load(url, creds, leaves=["a:b:c"])
    key.chmod(0o644)
    with pytest.raises(FluxrigError, match="run chmod 600"):
        External.load(url, creds, account_key=key)


def test_a_server_without_jetstream_is_told(tmp_path: Path, ca: Path) -> None:
    """It is said that JetStream is off."""
    with cluster(tmp_path / "cluster", ca, 1, jetstream=False) as one:
        until(lambda: asyncio.run(_answers(one)), "the server")
        assert "has no JetStream for this account" in refused(tmp_path, *one.options())


async def _answers(one: Cluster) -> bool:
    with suppress(BusError):
        async with await one.connect():
            return True
    return False


def test_the_configuration_that_is_documented_is_one(tmp_path: Path, ca: Path) -> None:
    """nats-server takes the configuration in the manual, with the files that it names."""
    text = (Path(__file__).parents[1] / "docs" / "external-nats.md").read_text("utf-8")
    config = re.search(r"```\n(feature_flags.*?)```", text, re.S)
    assert config is not None
    Cluster(tmp_path / "cluster", ca, 1)
    shutil.copy(ca, tmp_path / "cluster" / "mixer-ca.pem")
    (tmp_path / "cluster" / "server.conf").write_text(config[1])
    command = (str(binary.find()), "-t", "-c", "server.conf")
    with running(command, tmp_path / "server.log", tmp_path / "cluster") as server:
        assert server.wait()[0] == 0, server.said()


def _pairs(options: list[str]) -> dict[str, str]:
    return dict(zip(options[::2], options[1::2], strict=True))
