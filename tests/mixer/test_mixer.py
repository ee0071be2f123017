"""The running Mixer: registration, status, quarantine, a disk that refuses, one Mixer to a folder."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxrig.bus import UNS, Parcel
from fluxrig.cli import console
from fluxrig.cli import mixer as mixer_cli
from fluxrig.errors import FluxrigError
from mixer.audit.disk import Disk
from mixer.audit.writer import Roll
from mixer.folder import Folder
from mixer.service import Mixer, Options
from mixer.status import status

from .audit.stream import leaf_seqs, rows
from .site import MixerProcess, rack, until


@asynccontextmanager
async def running(folder: Folder, port: int, age_s: float = 0.1) -> AsyncIterator[Mixer]:
    """A Mixer in this process."""
    mixer = Mixer(folder, Options(port=port, enrol_port=0, roll=Roll(age_s=age_s), sync="1s"))
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(mixer.run(stop, lambda _: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    try:
        if not ready.is_set():
            await task
        yield mixer
    finally:
        waiting.cancel()
        stop.set()
        await asyncio.wait([task])
    task.result()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "mixer")


def stream_of(found: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in found["streams"] if one["stream"] == UNS)


async def test_a_rack_registers_and_its_messages_become_rows(
    folder: Folder, tmp_path: Path, port: int
) -> None:
    """From the leaf to SQL while the Mixer runs; status tells who and how far, running or not."""
    async with running(folder, port), rack(tmp_path, port) as one:
        await one.store(30)
        await one.flushed()
        assert leaf_seqs(folder.audit) == list(range(30))
        found = await status(folder)
        assert found["running"]
        assert [(r["rack"], r["uns"], r["version"]) for r in found["racks"]] == [
            ("press-line-3", "acme/lyon/press", "1")
        ]
        uns = stream_of(found)
        assert (uns["backlog"], uns["rows"]) == (0, {"messages": 30, "samples": 60})
        assert uns["committed_seq"] == uns["last_seq"]
    at_rest = await status(folder)
    assert not at_rest["running"]
    assert stream_of(at_rest)["rows"] == {"messages": 30, "samples": 60}
    assert [r["rack"] for r in at_rest["racks"]] == ["press-line-3"]


@pytest.mark.parametrize("wrong", [{"leaves": 5}, {"leaves": {UNS: "x" * 129}}, {"version": ["1"]}])
async def test_a_registration_that_makes_no_sense_is_refused(
    folder: Folder, tmp_path: Path, port: int, wrong: dict[str, Any]
) -> None:
    """What a Rack says of itself is held to its form, and a refusal changes nothing of what is known."""
    async with running(folder, port), rack(tmp_path, port) as one:
        await until(lambda: one.answer.get("ok"))
        answer = await one.register(**wrong)
        assert not answer["ok"]
        assert next(iter(wrong)) in answer["error"]
        assert [rack["version"] for rack in (await status(folder))["racks"]] == ["1"]


async def test_what_cannot_be_decoded_stops_nothing(folder: Folder, tmp_path: Path, port: int) -> None:
    """Garbage on the stream ends in quarantine with its bytes; what is behind it has rows."""
    async with running(folder, port), rack(tmp_path, port) as one:
        await one.store(10)
        await one.publisher.store([Parcel("fluxrig.uns.acme.lyon.press", b"\xff\x00garbage", 1)])
        one.sent += 1
        await one.flushed()
        await one.store(10)
        await one.flushed()
        assert leaf_seqs(folder.audit) == [*range(10), *range(11, 21)]
        assert rows(folder.audit, "SELECT leaf_seq, payload, subject FROM quarantine") == [
            (10, b"\xff\x00garbage", "fluxrig.uns.acme.lyon.press")
        ]


async def test_a_disk_that_refuses_is_told_and_waited_out(
    folder: Folder, tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """While the disk is full nothing is acknowledged, status says why, and then every row is there once."""

    class Full(Disk):
        def write(self, path: Path, data: bytes | memoryview) -> None:
            raise OSError(28, "No space left on device", str(path))

    async with running(folder, port) as mixer, rack(tmp_path, port) as one:
        await one.store(10)
        await one.flushed()
        mixer._home.store._disk = Full()
        await one.store(40)
        await until(lambda: any("No space left" in text for text in caplog.messages))
        found = await status(folder)
        assert "No space left on device" in stream_of(found)["trouble"]
        assert one.committed == 10
        mixer._home.store._disk = Disk()
        await one.flushed()
        assert stream_of(await status(folder))["trouble"] == ""
    assert leaf_seqs(folder.audit) == list(range(50))
    assert sum("No space left" in text for text in caplog.messages) == 1


async def test_one_mixer_to_a_folder(folder: Folder, port: int) -> None:
    """A second Mixer on the same data says who has it, and touches nothing."""
    async with running(folder, port):
        with pytest.raises(FluxrigError, match=rf"already running on .* \(process {os.getpid()}\)"):
            await Mixer(folder, Options(port=0, enrol_port=0)).run(asyncio.Event())
        assert (await status(folder))["running"]


async def test_secrets_are_private(folder: Folder, port: int) -> None:
    """No other user can read a key of the Mixer, how to reach it, or the folder at all."""
    async with running(folder, port):
        secret = [
            folder.run,
            *folder.identity.rglob("*"),
            *folder.hub.rglob("*.key"),
            folder.hub / "server.conf",
        ]
        assert len(secret) > 10
        shown = {path.name for path in secret if path.stat().st_mode & 0o077}
        assert shown <= {"signing.pub"}
    assert folder.path.stat().st_mode & 0o077 == 0


async def test_upkeep_works_beside_the_running_mixer(
    tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compacting, pruning and verifying through the commands, while the Mixer writes on."""
    data = tmp_path / "mixer"
    async with rack(tmp_path, port) as one:
        with MixerProcess(data, port) as mixer:
            await mixer.ready()
            for _ in range(3):
                await one.store(50)
                await one.flushed()
            done = await asyncio.to_thread(command, capsys, "compact", "--data", str(data))
            assert done["files_before"] >= 6
            assert done["files_after"] == 2
            await one.store(50)
            await one.flushed()
            assert (await asyncio.to_thread(command, capsys, "verify", "--data", str(data)))["faults"] == []
            assert mixer.stop() == 0
    stats = await asyncio.to_thread(command, capsys, "stats", "--data", str(data))
    assert stats["tables"]["messages"]["rows"] == 200
    assert stats["lines"]["compact"] == 1
    listed = await asyncio.to_thread(command, capsys, "ls", "--data", str(data), "--table", "messages")
    assert sum(file["rows"] for file in listed) == 200
    pruned = await asyncio.to_thread(
        command, capsys, "prune", "--data", str(data), "--older-than", "1d", "--dry-run"
    )
    assert pruned["files"] == []


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What `mixer audit …` prints with --json."""
    assert console.run(mixer_cli.app, ["audit", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)
