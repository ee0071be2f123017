"""The rooms `gears`, `racks` and `mixer` are ours, or the user is told what to do."""

from pathlib import Path

import pytest

from fluxrig.cli.rooms import check_rooms
from fluxrig.errors import FluxrigError


def test_our_own_installation_passes() -> None:
    """An installation of fluxrig alone is never refused."""
    check_rooms()


@pytest.mark.parametrize("layout", ["mixer/__init__.py", "mixer.py"])
def test_a_foreign_package_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """When PyPI's `mixer` shadows ours, the error names it, where it lies, and how to be rid of it."""
    (tmp_path / layout).parent.mkdir(exist_ok=True)
    (tmp_path / layout).write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "mixer", raising=False)
    with pytest.raises(FluxrigError) as caught:
        check_rooms()
    assert str(tmp_path / layout) in str(caught.value)
    assert "pip uninstall mixer" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that lost a room says which one."""
    monkeypatch.setattr("fluxrig.cli.rooms.ROOMS", ("no_such_room",))
    with pytest.raises(FluxrigError, match="'no_such_room' nowhere"):
        check_rooms()
