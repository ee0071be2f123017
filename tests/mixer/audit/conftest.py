"""An audit store in a folder of its own."""

from pathlib import Path

import pytest

from mixer.audit.store import AuditStore


@pytest.fixture
def store(tmp_path: Path) -> AuditStore:
    return AuditStore(tmp_path / "audit")
