"""A port that stays this test's own, also while no hub listens on it, for a Mixer that knows the Rack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxrig.bus.port import ReservedPort

from .site import enrol


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    enrol(tmp_path)
    reserved = ReservedPort()
    yield reserved.port
    reserved.release()
