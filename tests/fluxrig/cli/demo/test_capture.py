"""The Rack file that a newcomer opens is the one that runs, live and as a replay."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from fluxrig.catalog import installed
from fluxrig.cli.demo.capture import RACK_FILE, RECORDING, may_capture, write_rack_file
from fluxrig.rackfile import RackSpec, load

CONFIGS = Path(__file__).parents[4] / "configs"


def spec_of(file: Path) -> RackSpec:
    return load(file, installed(), {}, secrets=False)


def test_there_is_one_rack_file() -> None:
    """What the package ships is configs/demo.yaml itself, not a copy that grows apart."""
    assert RACK_FILE.samefile(CONFIGS / "demo.yaml")


def test_the_rack_file_is_right_without_any_variable() -> None:
    """`fluxrig check configs/demo.yaml` passes on its own."""
    assert set(spec_of(CONFIGS / "demo.yaml").gears) == {"press", "steady", "tap"}


def test_live_runs_the_file_as_it_is(tmp_path: Path) -> None:
    """A live demo changes nothing in the file."""
    assert write_rack_file(tmp_path, live=True).read_bytes() == RACK_FILE.read_bytes()


def test_a_replay_changes_the_tap_alone(tmp_path: Path) -> None:
    """All but the source of the packets is the same Rack."""
    replay, live = spec_of(write_rack_file(tmp_path, live=False)), spec_of(RACK_FILE)
    assert {name for name in live.gears if replay.gears[name] != live.gears[name]} == {"tap"}
    assert (replay.wires, replay.name, replay.uns) == (live.wires, live.name, live.uns)
    assert str(RECORDING) in str(replay.gears["tap"].config)


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT])
def test_where_capturing_is_refused_there_is_no_live_demo(
    refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No right to capture, or no packet sockets at all, means a replay and no error."""

    def refuse(*_: object) -> None:
        raise OSError(refusal, "refused")

    monkeypatch.setattr(socket, "socket", refuse)
    assert may_capture() is False
