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
from tests.processes import FLUXRIG, MIXER, free_port, running, until

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
    port = str(free_port())
    up = (*MIXER, "up", "--data", "site", "--listen", f"127.0.0.1:{port}", "--commit-every", "200ms")
    plant_command = python_module("fluxrig.cli.demo.plant", "--port", 0)
    with Child("plant", plant_command, folder) as plant, running(up, folder / "log", cwd=folder):
        plant.wait_for("listening socket", plant.last_line)
        (folder / "plc").write_text(str(plant.first_line()["listening"]).removeprefix("tcp://"))
        until((folder / "site" / "snake.token").exists, "the token")
        (folder / "snake.token").write_text((folder / "site" / "snake.token").read_text())
        (folder / "snake.token").chmod(0o600)
        (folder / "operator.yaml").write_text(operator.replace("7422", port))
        run([*FLUXRIG, "run", "operator.yaml", "--for", "1s", "--state", "state"], folder)
        yield folder


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
        out = run([*FLUXRIG, *[word.replace("10s", "1s") for word in rest]], site)
        assert out


def test_commands_of_the_operator_and_the_analyst(site: Path) -> None:
    """Every `mixer` command answers on a folder with rows; `mixer up` is what the fixture runs."""
    asked = [rest for _, *rest in commands("mixer") if rest[0] != "up"]
    assert len(asked) == len(commands("mixer")) - 1 >= 3
    for rest in asked:
        assert run([*MIXER, *rest], site)


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
