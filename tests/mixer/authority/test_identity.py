"""The Mixer's identity: private, whole or refused, and the same again after a restore."""

import shutil
import stat
from pathlib import Path

import pytest

from fluxrig.errors import FluxrigError
from mixer.authority.backup import backup, restore
from mixer.authority.identity import Authority, BrokenIdentity

FILES = [
    "ca.key",
    "ca.pem",
    "control.nk",
    "identity.json",
    "operator.nk",
    "projects/default.nk",
    "racks.json",
    "signing.key",
    "system.nk",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A Mixer's data folder with an identity and an audit that it vouches for."""
    folder = tmp_path / "mixer"
    Authority.open(folder / "identity")
    (folder / "audit").mkdir()
    (folder / "audit" / "manifest.jsonl").write_text("{}\n")
    return folder


def opened(data: Path) -> Authority:
    return Authority.open(data / "identity", [data / "hub", data / "audit"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_its_owner_may_read_it(data: Path) -> None:
    """Folders are 0700 and each file with a secret is 0600, whatever the umask."""
    for path in [data / "identity", *(data / "identity").rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o644 if path.suffix == ".pub" else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_what_others_may_read_is_closed_and_told(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy made by hand may have left keys open: they are private again, in one line for each."""
    key = data / "identity" / "ca.key"
    key.chmod(0o644)
    opened(data)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert caplog.messages == [f"{key} was open to others (mode 644); it is private again"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named_and_none_is_made_anew(data: Path, name: str) -> None:
    """A half-lost identity stops the start with one line that says what is missing and what to do."""
    (data / "identity" / name).unlink()
    before = contents(data)
    with pytest.raises(BrokenIdentity) as told:
        opened(data)
    assert str(told.value) == (
        f"{data / 'identity' / name} is missing; put the identity back with `mixer restore FILE`"
    )
    assert contents(data) == before


@pytest.mark.parametrize("name", [name for name in FILES if name != "racks.json"])
@pytest.mark.parametrize("text", [b"", b"{}", b"\xff" * 100])
def test_a_file_that_is_damaged_is_named(data: Path, name: str, text: bytes) -> None:
    """What is in a file is checked too; racks.json by the registry, which reads it."""
    (data / "identity" / name).write_bytes(text)
    with pytest.raises(BrokenIdentity, match="mixer restore FILE") as told:
        opened(data)
    assert str(data / "identity" / name) in str(told.value)


@pytest.mark.parametrize("empty", [True, False])
def test_no_identity_is_made_beside_data(data: Path, empty: bool) -> None:
    """With the whole folder gone, or empty, the Mixer does not start as somebody else."""
    shutil.rmtree(data / "identity")
    if empty:
        (data / "identity").mkdir()
    with pytest.raises(BrokenIdentity, match=r"is missing, but .*audit holds data"):
        opened(data)
    assert not (data / "identity").exists() or not any((data / "identity").iterdir())


def test_a_backup_makes_the_same_mixer_elsewhere(data: Path, tmp_path: Path) -> None:
    """All keys, the Racks and the projects come back from the one file, which is 0600."""
    opened(data).add_project("lab")
    file, other = tmp_path / "backup.tar", tmp_path / "other" / "identity"
    backup(data / "identity", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    restore(file, other)
    one, two = opened(data), Authority.open(other)
    assert {name: key.public for name, key in one.projects.items()} == {
        name: key.public for name, key in two.projects.items()
    }
    assert (one.operator.public, one.signing.key_id) == (two.operator.public, two.signing.key_id)


@pytest.mark.parametrize("name", FILES)
def test_a_half_lost_identity_is_made_whole(data: Path, tmp_path: Path, name: str) -> None:
    """Each file alone can be put back; what is still known of Racks stays as it is."""
    backup(data / "identity", tmp_path / "backup.tar")
    racks = data / "identity" / "racks.json"
    racks.write_bytes(b"[ ]")
    (data / "identity" / name).unlink()
    restore(tmp_path / "backup.tar", data / "identity")
    opened(data)
    assert racks.read_bytes() == (b"[]" if name == "racks.json" else b"[ ]")


def test_another_identity_is_never_replaced(data: Path, tmp_path: Path) -> None:
    """A backup of one Mixer can't take the place of another's keys."""
    backup(data / "identity", tmp_path / "backup.tar")
    other = tmp_path / "other" / "identity"
    Authority.open(other)
    before = contents(other)
    with pytest.raises(FluxrigError, match="holds another identity; move it away first"):
        restore(tmp_path / "backup.tar", other)
    assert contents(other) == before


@pytest.mark.parametrize("kept", [0, 700, 4000, 6000])
def test_a_cut_backup_changes_nothing(data: Path, tmp_path: Path, kept: int) -> None:
    """It proves whole before it is put in place; the line names the file and what to do."""
    file, other = tmp_path / "backup.tar", tmp_path / "other" / "identity"
    backup(data / "identity", file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(FluxrigError) as told:
        restore(file, other)
    assert str(told.value).startswith(f"{file} is no")
    assert "\n" not in str(told.value)
    assert not other.exists()
    assert not other.with_name("identity.restored").exists()


def test_a_backup_replaces_no_file(data: Path, tmp_path: Path) -> None:
    """The backup of last year is not overwritten by mistake."""
    file = tmp_path / "backup.tar"
    file.write_bytes(b"precious")
    with pytest.raises(FluxrigError, match="is there already; name another file"):
        backup(data / "identity", file)
    assert file.read_bytes() == b"precious"
