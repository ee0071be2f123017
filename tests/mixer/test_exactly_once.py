"""What a leaf has stored is in Parquet exactly once and in order, whatever happens to the Mixer."""

import asyncio
import random
import shutil
from pathlib import Path

from mixer.folder import Folder
from mixer.status import status

from .audit.stream import leaf_seqs, rows
from .site import MixerProcess, rack, until


async def test_kill_9_at_random_moments_loses_and_doubles_nothing(tmp_path: Path, port: int) -> None:
    """Under load, the Mixer and its hub are killed again and again; the ledger balances at the end."""
    data, draw = tmp_path / "mixer", random.Random(7)
    async with rack(tmp_path, port) as one:
        enough = asyncio.Event()

        async def load() -> None:
            while not enough.is_set():
                await one.store(100)
                await asyncio.sleep(0.01)

        loading = asyncio.create_task(load())
        for _ in range(3):
            with MixerProcess(data, port) as mixer:
                await mixer.ready()
                before = one.committed
                await until(lambda before=before: one.committed > before)
                await asyncio.sleep(draw.uniform(0, 0.4))
                mixer.kill()
        enough.set()
        await loading
        with MixerProcess(data, port) as mixer:
            await mixer.ready()
            await one.flushed()
            assert mixer.stop() == 0
        assert leaf_seqs(data / "audit") == list(range(one.sent))
        assert rows(data / "audit", "SELECT count(*) FROM samples") == [(2 * one.sent,)]
        assert rows(data / "audit", "SELECT count(*) FROM quarantine") == [(0,)]


async def test_stopping_commits_what_is_held(tmp_path: Path, port: int) -> None:
    """SIGTERM leaves nothing in memory: what the hub had is in Parquet when the process is gone."""
    data = tmp_path / "mixer"
    async with rack(tmp_path, port) as one:
        with MixerProcess(data, port, "--commit-every", "1h") as mixer:
            await mixer.ready()
            await until(lambda: one.answer.get("ok"))
            await one.store(1000)
            while await backlog_of(data) < 100:  # noqa: ASYNC110 - it is in another process
                await asyncio.sleep(0.02)
            assert mixer.stop() == 0
        assert leaf_seqs(data / "audit") == list(range(1000))
        assert not (data / "run.json").exists()


async def backlog_of(data: Path) -> int:
    """How many stored messages the running Mixer has no rows for."""
    found = await status(Folder(data))
    return next((one["backlog"] for one in found["streams"] if one["stream"] == "UNS"), -1)


async def test_a_hub_whose_store_was_lost_gives_no_row_twice(tmp_path: Path, port: int) -> None:
    """The hub's disk is replaced: it sources the leaf anew, and known rows are told by their numbers."""
    data = tmp_path / "mixer"
    async with rack(tmp_path, port) as one:
        with MixerProcess(data, port) as mixer:
            await mixer.ready()
            await one.store(1000)
            await one.flushed()
            mixer.kill()
        shutil.rmtree(data / "hub")
        await one.store(1000)
        with MixerProcess(data, port) as mixer:
            await mixer.ready()
            await one.flushed()
            assert mixer.stop() == 0
        assert leaf_seqs(data / "audit") == list(range(2000))
