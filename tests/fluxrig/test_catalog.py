"""The catalog has what is installed, and a broken package keeps nobody else away."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint

import pytest

from fluxrig import catalog
from fluxrig.catalog import Catalog, installed
from fluxrig.errors import FluxrigError
from fluxrig.gear import GearConfig, Manifest

OWN = Manifest(kind="own", summary="", config=GearConfig, gear="own.gear:Own")


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, catalog.GROUP)


def test_has_every_folder_of_gears() -> None:
    """Each built-in kind is there under its folder's name, with a class that loads."""
    found = installed()
    assert {"io_modbus", "network_sniffer", "deadband", "simulate", "stdout"} <= set(found)
    for kind, manifest in found.items():
        assert manifest.kind == kind
        assert manifest.load().__module__.startswith(f"gears.{kind}")


def test_takes_third_party_gears(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Manifest behind an entry point of the group is one more kind."""
    monkeypatch.setattr(
        catalog, "entry_points", lambda group: [entry("own", "tests.fluxrig.test_catalog:OWN")]
    )
    assert installed()["own"].gear == OWN.gear


@pytest.mark.parametrize(
    "value", ["no.such.module:X", "json:NOPE", "json:loads", "gears.stdout.config:MANIFEST"]
)
def test_a_broken_package_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    """What can't be loaded, is no manifest, or takes another's name costs a warning, not the other gears."""
    monkeypatch.setattr(catalog, "entry_points", lambda group: [entry("bad", value)])
    caplog.set_level(logging.WARNING)
    assert "simulate" in installed()
    assert "'bad'" in caplog.text


def test_two_of_a_name_are_refused() -> None:
    """A catalog never lets one gear stand in for another."""
    with pytest.raises(FluxrigError, match="own"):
        Catalog([OWN, OWN])
