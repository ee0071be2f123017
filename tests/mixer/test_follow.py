"""`mixer audit tail` shows a message when the hub has it, each once, over restarts of the Mixer."""

import asyncio
import json
import sys
from pathlib import Path

from tests.processes import MIXER

from .site import MixerProcess, rack, until


async def test_tail_is_live_and_misses_nothing(tmp_path: Path, port: int) -> None:
    """Long before a commit is due each message is shown, once and in order, also when the Mixer is killed."""
    data, shown = tmp_path / "mixer", list[int]()
    async with rack(tmp_path, port) as one:
        with MixerProcess(data, port) as mixer:
            await mixer.ready()
            await one.store(50)
            await one.flushed()
            assert mixer.stop() == 0
        with MixerProcess(data, port, "--commit-every", "1h") as mixer:
            await mixer.ready()
            command = (
                *MIXER,
                "audit",
                "tail",
                "--data",
                str(data),
                "-n",
                "20",
                "--json",
                "--rack",
                "press-line-3",
            )
            tail = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=sys.stderr
            )

            async def read() -> None:
                assert tail.stdout is not None
                async for line in tail.stdout:
                    shown.append(json.loads(json.loads(line)["data"])["n"])

            reading = asyncio.create_task(read())
            await until(lambda: len(shown) == 20)
            await one.store(100)
            await until(lambda: len(shown) == 120)
            assert one.committed == 50
            mixer.kill()
        with MixerProcess(data, port) as mixer:
            await mixer.ready()
            await one.store(100)
            await until(lambda: len(shown) >= 220, 40)
            tail.terminate()
            await tail.wait()
            await reading
            assert mixer.stop() == 0
    assert shown == list(range(30, 250))
