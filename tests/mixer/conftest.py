"""A port that stays this test's own, also while no hub listens on it."""

from collections.abc import Iterator

import pytest

from fluxrig.bus.port import ReservedPort


@pytest.fixture
def port() -> Iterator[int]:
    reserved = ReservedPort()
    yield reserved.port
    reserved.release()
