"""Files on disk: what cannot be read is one fault, and the Snake's token is kept close."""

import os
from pathlib import Path

import pytest

from fluxrig.errors import ConfigError
from fluxrig.rackfile import RackSpec, load

TOKEN = "s3cret-token"


@pytest.fixture
def rackfile(tmp_path: Path, good: str) -> Path:
    path = tmp_path / "rack.yaml"
    path.write_text(good)
    return path


@pytest.fixture
def linked(rackfile: Path) -> Path:
    rackfile.write_text(f"{rackfile.read_text()}snake: {{join: token}}\n")
    token = rackfile.parent / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    return rackfile


def faults(path: Path, catalog, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, catalog, environ)
    assert TOKEN not in str(caught.value)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


def test_load(rackfile: Path, catalog) -> None:
    """A good file becomes a Rack."""
    assert isinstance(load(rackfile, catalog, {}), RackSpec)


def test_the_fault_names_the_file(rackfile: Path, catalog) -> None:
    """A fault reads file:line:column: message, as editors and compilers have it."""
    rackfile.write_text(rackfile.read_text().replace("poll", "pol"))
    with pytest.raises(ConfigError) as caught:
        load(rackfile, catalog, {})
    assert str(caught.value) == f"{rackfile}:5:11: there is no kind 'pol'; did you mean 'poll'?"


def test_missing(tmp_path: Path, catalog) -> None:
    """No file, a directory, a pipe or a wrong name: one clear fault, and no waiting."""
    os.mkfifo(tmp_path / "pipe")
    assert faults(tmp_path / "none.yaml", catalog) == ["0:0: no such file"]
    assert faults(tmp_path, catalog) == ["0:0: is a directory; name the Rack file in it"]
    assert faults(tmp_path / "pipe", catalog) == ["0:0: is not a regular file"]
    assert faults(tmp_path / "a\0b", catalog) == ["0:0: is no file name"]
    assert faults(tmp_path / ("x" * 300), catalog) == ["0:0: cannot be read: file name too long"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable(rackfile: Path, catalog) -> None:
    """A file that may not be read says so."""
    rackfile.chmod(0)
    assert faults(rackfile, catalog) == ["0:0: cannot be read: permission denied"]


def test_a_huge_file_is_not_read(tmp_path: Path, catalog, monkeypatch) -> None:
    """100 MB are refused by their size, before a byte is read."""
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("the file was opened"))
    assert faults(path, catalog) == ["0:0: the file has 100,000,000 bytes; a Rack file has at most 1,048,576"]


def test_the_join_token_stands_beside_the_rack_file(linked: Path, catalog) -> None:
    """Its path begins at the Rack file, wherever the command was run; it is read when it is needed."""
    snake = load(linked, catalog, {}).snake
    assert (snake.join_file, snake.join) == (linked.parent / "token", "")


def test_the_join_token_from_the_environment(linked: Path, catalog) -> None:
    """The environment may have it; checking a file needs none; no log shows it."""
    environ = {"FLUXRIG_JOIN": f" {TOKEN}\n"}
    spec = load(linked, catalog, environ)
    assert spec.snake.join == TOKEN
    assert TOKEN not in repr(spec)
    assert load(linked, catalog, environ, secrets=False).snake.join == ""


def test_a_link_is_asked_for_in_words(linked: Path, catalog) -> None:
    """`snake:` with nothing behind it is neither a link nor none."""
    linked.write_text(linked.read_text().replace("snake: {join: token}", "snake:"))
    [found] = faults(linked, catalog)
    assert "write snake: {} for a link to the Mixer, or leave it out" in found
