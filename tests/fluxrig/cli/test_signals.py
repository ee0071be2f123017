"""A program ends when it is told to, whatever its tasks do."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

STUBBORN = """
    import asyncio, sys
    from fluxrig.cli import signals
    signals.GRACE_S = 0.5

    async def stubborn():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    async def main(stop):
        asyncio.create_task(stubborn(), name="mule")
        print("ready", flush=True)
        {work}
        return 3

    sys.exit(signals.run_until_told(main))
"""


def start(work: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(STUBBORN).format(work=work)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_task_that_does_not_end_is_left_behind_and_named() -> None:
    """The first signal ends the program with its own result, although a task swallows its cancellation."""
    process = start("await stop.wait()")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "mule" in said
    assert "Traceback" not in said


def test_a_second_signal_ends_what_can_not_be_cancelled() -> None:
    """Work that swallows its cancellation ends with the process, soon after the second signal."""
    process = start("await stubborn()")
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
