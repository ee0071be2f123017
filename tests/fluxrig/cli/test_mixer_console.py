"""Both console scripts end with the same exit codes and the same one-line errors."""

import pytest
import typer

from fluxrig.cli.console import JsonOption, VersionOption, print_json, run
from fluxrig.errors import AuditError, ConfigError, Fault


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def fail(json: JsonOption = False, version: VersionOption = False) -> None:
        print_json({"json": json})
        raise error

    return app


FAULTS = [Fault("a.yaml", 3, 1, "no such gear"), Fault("a.yaml", 9, 5, "no such wire")]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (AuditError("the store is gone; bring it back"), 1, "error: the store is gone; bring it back\n"),
        (ConfigError(FAULTS), 2, "a.yaml:3:1: no such gear\na.yaml:9:5: no such wire\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "error: No such file: x\n"),
        (
            ModuleNotFoundError("No module named 'duckdb'", name="duckdb"),
            1,
            "error: duckdb is not installed; run: pip install 'fluxrig[mixer]'\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (typer.Exit(1), 1, ""),
    ],
)
def test_every_error_has_its_exit_code_and_its_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, says: str
) -> None:
    """An error is one line on stderr (a faulty config: a line a fault), never a traceback."""
    assert run(app_that_raises(error), ["--json"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ('{"json": true}\n', says)


def test_a_bug_is_one_line_and_its_traceback_is_to_be_had(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error nobody foresaw is still one line, and FLUXRIG_DEBUG=1 shows where it was."""
    bug = ZeroDivisionError("division by\nzero")
    assert run(app_that_raises(bug), []) == 1
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setenv("FLUXRIG_DEBUG", "1")
    assert run(app_that_raises(bug), []) == 1
    assert "Traceback" in capsys.readouterr().err


def test_wrong_use_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An option that does not exist is wrong use."""
    assert run(app_that_raises(AuditError("")), ["--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the distribution and its version on stdout and runs nothing."""
    assert run(app_that_raises(AuditError("")), ["--version"]) == 0
    assert capsys.readouterr().out.startswith("fluxrig 0.")
