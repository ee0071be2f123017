"""`check`, `schema`, `graph` and `gears`: what integrators and their editors see."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from fluxrig.cli import console
from fluxrig.cli.check import check
from fluxrig.cli.gears import gears
from fluxrig.cli.graph import graph
from fluxrig.cli.schema import schema

ROOT = Path(__file__).resolve().parents[3]
GOOD = """\
rack: bench
uns: acme/lyon/lab
gears:
  source: {kind: simulate, rate: 10}
  screen: {kind: stdout}
wires:
  - source -> screen
"""
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fluxrig(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line and give its exit code, stdout and stderr."""
    app = typer.Typer()
    for command in (check, schema, graph, gears):
        app.command()(command)

    def run(*argv: str | Path) -> tuple[int, str, str]:
        code = console.run(app, list(map(str, argv)))
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("stdout", "stdou").replace("rate", "rat"))
    return path


def test_a_good_file(fluxrig: Command, good: Path) -> None:
    """A good file is one line that says what is in it."""
    assert fluxrig("check", good) == (0, f"{good}: ok (Rack bench: 2 gears, 1 wire, no Snake)\n", "")


@pytest.mark.parametrize(
    ("link", "said"),
    [("{}", "where it is enrolled"), ("{mixer: mixer.acme}", "mixer.acme:7422"), ("{mixer: 'm:1'}", "m:1")],
)
def test_a_link_is_told(fluxrig: Command, good: Path, link: str, said: str) -> None:
    """Of a Rack with a link, where that leads."""
    good.write_text(GOOD + f"snake: {link}\n")
    assert fluxrig("check", good)[1] == f"{good}: ok (Rack bench: 2 gears, 1 wire, Snake to {said})\n"


def test_faults_of_all_files_at_once(fluxrig: Command, good: Path, bad: Path, tmp_path: Path) -> None:
    """Every fault of every file is one line; the exit code is 2."""
    code, out, _ = fluxrig("check", bad, tmp_path / "none.yaml", good)
    assert code == 2
    assert out.splitlines() == [
        f"{bad}:4:28: unknown key 'rat'; did you mean 'rate'?",
        f"{bad}:5:18: there is no kind 'stdou'; did you mean 'stdout'?",
        f"{tmp_path}/none.yaml:0:0: no such file",
        f"{good}: ok (Rack bench: 2 gears, 1 wire, no Snake)",
    ]


def test_json(fluxrig: Command, good: Path, bad: Path) -> None:
    """Programs get an array of faults, empty when there are none."""
    code, out, _ = fluxrig("check", "--json", bad)
    first = {"file": str(bad), "line": 4, "column": 28, "message": "unknown key 'rat'; did you mean 'rate'?"}
    assert (code, json.loads(out)[0]) == (2, first)
    code, out, _ = fluxrig("check", "--json", good)
    assert (code, json.loads(out)) == (0, [])


def test_no_file_is_wrong_use(fluxrig: Command) -> None:
    """Without a file the command says what it wants."""
    code, _, err = fluxrig("check")
    assert code == 2
    assert "FILE" in err


def test_graph(fluxrig: Command, good: Path, bad: Path) -> None:
    """A good file is drawn; a bad one shows its faults instead."""
    assert fluxrig("graph", good)[1].startswith("flowchart LR\n")
    code, out, err = fluxrig("graph", bad)
    assert (code, out) == (2, "")
    assert f"{bad}:4:28: " in err


def test_gears(fluxrig: Command) -> None:
    """The list names every kind; a kind shows its settings and an example."""
    _, out, _ = fluxrig("gears")
    assert {"simulate", "stdout", "deadband", "io_modbus", "network_sniffer"} <= set(out.split())
    _, out, _ = fluxrig("gears", "simulate")
    assert "Inputs: none, it is a source. Outputs: out, error." in out
    assert "duration" in out
    assert (ROOT / "gears" / "simulate" / "example.yaml").read_text() in out


def test_gears_json(fluxrig: Command) -> None:
    """Programs get the kinds, and a kind's schema."""
    _, out, _ = fluxrig("gears", "--json")
    assert {"kind": "stdout", "source": False, "inputs": ["in"], "outputs": []}.items() <= {
        each["kind"]: each for each in json.loads(out)
    }["stdout"].items()
    _, out, _ = fluxrig("gears", "stdout", "--json")
    assert json.loads(out)["config"]["properties"]


def test_an_unknown_kind(fluxrig: Command) -> None:
    """A typo in a kind gets the nearest one."""
    code, _, err = fluxrig("gears", "stdou")
    assert code == 2
    assert "stdout" in err


def test_schema(fluxrig: Command) -> None:
    """The schema is JSON that names every kind."""
    _, out, _ = fluxrig("schema")
    assert json.loads(out)["properties"]["gears"]["additionalProperties"]["discriminator"]["mapping"][
        "simulate"
    ]


SHIPPED = [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "gears").glob("*/example.yaml")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_file_is_good(fluxrig: Command, path: Path) -> None:
    """What the project ships as an example passes its own check."""
    assert fluxrig("check", path)[0] == 0


@pytest.mark.parametrize("kind", sorted(path.name for path in (ROOT / "gears").glob("[a-z]*/")))
def test_every_gear_has_an_example(kind: str) -> None:
    """Every gear's folder holds a Rack file that uses it."""
    assert f"kind: {kind}" in (ROOT / "gears" / kind / "example.yaml").read_text()


def test_no_driver_is_needed() -> None:
    """A Rack file is checked, drawn and described where no driver, database or bus is installed."""
    blocked = ["pymodbus", "scapy", "duckdb", "pyarrow", "nats", "opentelemetry"]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "from pathlib import Path\n"
        "from fluxrig.cli.check import check\n"
        "from fluxrig.cli.gears import gears\n"
        "from fluxrig.cli.graph import graph\n"
        "from fluxrig.cli.schema import schema\n"
        f"file = Path({str(ROOT / 'configs' / 'modbus-and-tap.yaml')!r})\n"
        "check([file]); graph(file); schema(); gears(None); gears('io_modbus')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
