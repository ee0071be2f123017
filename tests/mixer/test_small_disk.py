"""A hub whose disk is smaller than what passes through it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxrig.message import FluxMsg

from .audit.stream import leaf_seqs
from .site import PATH, RACK, MixerProcess, enrol, rack

DISK_MIB = 40

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")


@pytest.fixture
def hub_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mixer" / "hub"
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", path], check=True)  # noqa: S607 - wherever it is installed
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # noqa: S607


async def test_a_backlog_larger_than_the_hubs_disk_passes_through(
    tmp_path: Path, port: int, hub_disk: Path
) -> None:
    """What is committed makes room for what is not: a full disk never keeps the hub from being emptied."""
    enrol(tmp_path)
    async with rack(tmp_path, port) as one:
        one.message = large  # type: ignore[method-assign]
        await one.store(3 * DISK_MIB << 9, each=64)
        with MixerProcess(tmp_path / "mixer", port) as mixer:
            await mixer.ready()
            await one.flushed(100)
            assert mixer.stop() == 0
        assert leaf_seqs(tmp_path / "mixer" / "audit") == list(range(one.sent))


def large(number: int) -> FluxMsg:
    """Give a message of about a KiB."""
    data = {"n": number, "note": "x" * 1000}
    return FluxMsg(
        id=number.to_bytes(16),
        ts=number,
        src=f"{RACK}/press",
        uns=PATH,
        schema="fluxrig.tags/1",
        data=data,
    )
