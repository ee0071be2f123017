"""The README is run: every file it shows is right, every command it names works, every query answers."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxrig.catalog import installed
from fluxrig.cli.demo.children import Child, python_module
from fluxrig.rackfile import parse
from mixer.audit.query import query
from tests.processes import FLUXRIG, MIXER, Running, running, until

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = {"fluxrig": FLUXRIG, "mixer": MIXER}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))[:1] == [program]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the README leaves it: `rack.yaml`, a press to poll, and `site` with some rows."""
    folder = tmp_path_factory.mktemp("readme")
    integrator, operator = blocks("yaml")
    (folder / "rack.yaml").write_text(integrator)
    up = (*MIXER, "up", "--data", "site", "--listen", "127.0.0.1:0", "--enrol", "127.0.0.1:0")
    plant_command = python_module("fluxrig.cli.demo.plant", "--port", 0)
    started = (*up, "--commit-every", "200ms")
    with Child("plant", plant_command, folder) as plant, running(started, folder / "log", cwd=folder):
        plant.wait_for("listening socket", plant.last_line)
        (folder / "plc").write_text(str(plant.first_line()["listening"]).removeprefix("tcp://"))
        until((folder / "site" / "run.json").exists, "the Mixer")
        enrol(folder)
        (folder / "operator.yaml").write_text(operator)
        run([*FLUXRIG, "run", "operator.yaml", "--for", "1s"], folder)
        yield folder


def enrol(folder: Path) -> None:
    """Let the Rack in with the commands of the README, in their order."""
    steps = next(block for block in blocks("sh") if "fluxrig enroll" in block).splitlines()
    for program, *rest in (shlex.split(step, comments=True) for step in steps[1:]):
        command = [*PROGRAMS[program], *rest]
        if rest[0] == "enroll":
            waiting = Running(command, folder / "enroll.log", cwd=folder, HOME=str(folder))
            until(lambda: "waiting for the operator" in (folder / "enroll.log").read_text(), "who asks")
        else:
            run(command, folder)
    assert waiting.wait()[0] == 0, waiting.said()


def run(command: list[str], folder: Path) -> str:
    plc = folder / "plc"
    environ = {"PLC": plc.read_text(), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_two_commands_are_targets() -> None:
    """What follows `make` in the README is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("text", blocks("yaml"))
def test_rack_files_are_right(text: str) -> None:
    """Every Rack file that the README shows passes the check."""
    parse(text, installed(), {}, file="README.md")


def test_commands_of_the_integrator(site: Path) -> None:
    """Check, graph and run do on a new machine what the README says."""
    for _, *rest in commands("fluxrig"):
        if rest[0] == "enroll":  # run by the fixture
            continue
        out = run([*FLUXRIG, *[word.replace("10s", "1s") for word in rest]], site)
        assert out


def test_commands_of_the_operator_and_the_analyst(site: Path) -> None:
    """Every `mixer` command answers on a folder with rows; `up` and `approve` are what the fixture runs."""
    asked = [rest for _, *rest in commands("mixer") if not {"up", "approve"} & set(rest[:2])]
    assert len(asked) == len(commands("mixer")) - 2 >= 5
    for rest in asked:
        assert run([*MIXER, *rest], site) or "--out" in rest


def test_queries(site: Path) -> None:
    """The queries answer, and say that nothing is missing and nothing there twice."""
    bare, ledger = blocks("sql")
    assert "seq" in str(ask(site, bare.replace("site/audit", str(site / "site" / "audit"))))
    assert [(row["missing"], row["twice"]) for row in ask(site, ledger)] == [(0, 0)]


def ask(site: Path, sql: str) -> list[dict[str, object]]:
    with query(site / "site" / "audit", sql) as reader:
        return [row for batch in reader for row in batch.to_pylist()]


def test_links_lead_somewhere() -> None:
    """Every relative link in the project's documents names a file that is there."""
    for document in (
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("gears/*/*.md"),
    ):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
