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
    rackfile.write_text(f"{rackfile.read_text()}snake: {{mixer: mixer.acme.example, token_file: token}}\n")
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


def test_token_from_a_file(linked: Path, catalog) -> None:
    """The token file stands beside the Rack file, wherever the command was run."""
    assert load(linked, catalog, {}).snake.token == TOKEN


def test_token_from_the_environment(linked: Path, catalog) -> None:
    """Without a token file the environment has the token."""
    linked.write_text(linked.read_text().replace(", token_file: token", ""))
    assert load(linked, catalog, {"FLUXRIG_SNAKE_TOKEN": TOKEN}).snake.token == TOKEN


def test_checking_needs_no_token(linked: Path, catalog) -> None:
    """A file can be checked on a machine that must not have the token."""
    (linked.parent / "token").unlink()
    assert load(linked, catalog, {}, secrets=False).snake.token == ""


def test_no_token_is_printed(linked: Path, catalog) -> None:
    """A Rack can be logged without its token."""
    assert TOKEN not in repr(load(linked, catalog, {}))


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        ("", 0o600, "'token' is empty"),
        (" \n", 0o600, "'token' is empty"),
        (TOKEN, 0o644, "'token' is open to everyone on this machine; run chmod 600"),
        (f"{TOKEN} {TOKEN}", 0o600, "'token' holds no token: a token is one word"),
        (f"{TOKEN}\n{TOKEN}", 0o600, "'token' holds no token"),
        (TOKEN * 1000, 0o600, "'token' holds no token"),
        ("\udcff", 0o600, "'token' holds no token"),
    ],
)
def test_bad_token_files(linked: Path, catalog, content: str, mode: int, fault: str) -> None:
    """A token file that is empty, open to all or no token is a fault that does not repeat it."""
    token = linked.parent / "token"
    token.write_bytes(content.encode(errors="surrogateescape"))
    token.chmod(mode)
    [found] = faults(linked, catalog)
    assert found.startswith("13:1: the token file ")
    assert fault in found


def test_token_files_that_are_none(linked: Path, catalog) -> None:
    """A missing token file, or a directory in its place, is a fault."""
    token = linked.parent / "token"
    token.unlink()
    assert faults(linked, catalog) == [
        "13:1: the token file 'token' cannot be read: no such file or directory"
    ]
    token.mkdir()
    assert faults(linked, catalog) == ["13:1: the token file 'token' is not a regular file"]
