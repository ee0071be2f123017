"""Every Rack file that ships is right, and runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxrig.catalog import installed
from fluxrig.cli.demo.capture import may_capture
from fluxrig.cli.demo.children import Child, python_module
from fluxrig.identity.address import Address
from fluxrig.identity.join import JoinToken
from fluxrig.rackfile import load
from tests.processes import FLUXRIG, read_json, running, until

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("gears/*/example.yaml")])


def named(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A press to poll; gives its host:port."""
    command = python_module("fluxrig.cli.demo.plant", "--port", 0)
    with Child("plant", command, tmp_path_factory.mktemp("plant")) as child:
        child.wait_for("listening socket", child.last_line)
        yield str(child.first_line()["listening"]).removeprefix("tcp://")


def test_the_promised_kinds_of_rack_are_there() -> None:
    """There is the demo, a Rack that polls, one that listens, and one that does both."""
    kinds = {
        file.name: {gear.kind for gear in load(file, installed(), {}, secrets=False).gears.values()}
        for file in FILES
        if file.parent.name == "configs"
    }
    polls, listens = {"io_modbus"}, {"network_sniffer"}
    assert "demo.yaml" in kinds
    assert any(polls <= kind and not listens & kind for kind in kinds.values())
    assert any(listens <= kind and not polls & kind for kind in kinds.values())
    assert any(polls | listens <= kind for kind in kinds.values())


@pytest.mark.parametrize("file", FILES, ids=named)
def test_it_runs(file: Path, plant: str, tmp_path: Path) -> None:
    """It starts, takes what its peers say, and stops in order with exit code 0."""
    spec = load(file, installed(), {}, secrets=False)
    live = any(getattr(gear.config, "interface", None) for gear in spec.gears.values())
    if live and not may_capture():
        pytest.skip("this process has no right to capture (CAP_NET_RAW)")
    report = tmp_path / "report"
    places = ("--state", str(tmp_path / "state"), "--report", str(report))
    command = (*FLUXRIG, "run", str(file), *places, "--flush", "100ms")
    environ = {
        "PRESS": f"tcp://{plant}",
        "PLC": plant,
        "FLUXRIG_DEMO_PLANT_PORT": plant.rpartition(":")[2],
        "FLUXRIG_JOIN": JoinToken(Address("127.0.0.1", 1), "00" * 32, "00" * 6, bytes(16)).encode(),
        "MIRROR": "lo",
    }
    speaks = any(gear.kind != "network_sniffer" for gear in spec.gears.values())

    def at_work() -> bool:
        gears = read_json(report).get("gears", {}).values()
        return any(gear["out"] for gear in gears) if speaks else bool(gears)

    with running(command, tmp_path / "log", **environ) as rack:
        until(lambda: rack.process.poll() is not None or at_work(), "a message")
        code, _ = rack.stop()
    assert code == 0, rack.said()
    assert at_work()
    gears = read_json(report)["gears"]
    assert all(gear["errors"] == 0 for gear in gears.values()), gears
