"""An enrolment server, and a Rack's machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .office import Edge, Office, opened


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(tmp_path) as office:
        yield office


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge(tmp_path / "state")
