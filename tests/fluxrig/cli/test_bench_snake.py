"""`fluxrig bench snake` measures what it says it measures."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fluxrig.cli.bench.snake_load import Arrival, check
from fluxrig.cli.bench.snake_relay import relay
from fluxrig.errors import FluxrigError
from tests.processes import until

SCRIPT = "from fluxrig.cli.main import main; main()"
FIGURES = {
    "live_msgs_per_s",
    "catch_up_msgs_per_s",
    "catch_up_ratio",
    "backlog_msgs",
    "back_after_s",
    "latency_ms",
    "latency_at_msgs_per_s",
    "bytes_per_msg",
    "bytes_per_msg_compressed",
    "compression",
    "leaf_rss_mib",
    "hub_rss_mib",
    "racks",
    "racks_backlog_msgs",
    "racks_caught_up_s",
    "racks_hub_rss_mib",
}


def _bench(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, "bench", "snake", "--folder", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_short_run_gives_every_figure_and_leaves_nothing(tmp_path: Path) -> None:
    """Real servers, two Racks: every figure is there and can be true, and no file stays."""
    with _bench(
        tmp_path, "--seconds", "1", "--racks", "2", "--batch", "200", "--sync", "1s", "--json"
    ) as run:
        stdout, stderr = run.communicate(timeout=100)
    assert run.returncode == 0, stderr
    found = json.loads(stdout)
    assert set(found) == FIGURES
    assert found["catch_up_ratio"] == pytest.approx(
        found["catch_up_msgs_per_s"] / found["live_msgs_per_s"], rel=0.01
    )
    assert found["backlog_msgs"] > 0
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert 0 < found["bytes_per_msg_compressed"] < found["bytes_per_msg"]
    assert min(found["leaf_rss_mib"], found["hub_rss_mib"], found["racks_hub_rss_mib"]) > 5
    assert (found["racks"], found["racks_backlog_msgs"]) == (2, 4000)
    assert found["racks_caught_up_s"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_ended_early_it_takes_all_with_it(tmp_path: Path, ended_by: signal.Signals) -> None:
    """Ctrl-C, or being told to end: exit code 130 without a traceback, no server and no file stays."""
    with _bench(tmp_path, "--seconds", "60") as run:
        until(lambda: list(tmp_path.glob("*/one/rack-1/leaf/server.log")), "the leaf")
        os.kill(run.pid, ended_by)
        _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []
    servers = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
    assert not [line for line in servers if str(tmp_path).encode() in line]


def test_a_bad_interval_is_told_at_once(tmp_path: Path) -> None:
    """What can't be an interval is wrong use, before anything starts."""
    with _bench(tmp_path, "--sync", "soon") as run:
        _, stderr = run.communicate(timeout=30)
    assert run.returncode == 2
    assert re.search("soon", stderr)


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ([(0, 10), (20, 10)], "message 20 came to the hub where 10 was due"),  # lost
        ([(0, 10), (0, 10), (10, 20)], "message 0 came to the hub where 10 was due"),  # doubled
        ([(10, 10), (0, 10)], "message 10 came to the hub where 0 was due"),  # out of order
        ([(0, 10), (10, 10)], "20 messages came to the hub, 30 were stored"),  # the end is missing
    ],
)
def test_no_figure_without_every_message(numbers: list[tuple[int, int]], complaint: str) -> None:
    """A message that is lost, doubled or out of order is an error, not a rate."""
    with pytest.raises(FluxrigError, match=complaint):
        check([Arrival(number, count, 0) for number, count in numbers], 0, 30)


async def test_the_relay_counts_both_directions() -> None:
    """Each byte that went through is counted once, whichever way it went."""

    async def double(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(2 * await reader.readexactly(1000))
        writer.close()

    server = await asyncio.start_server(double, "127.0.0.1", 0)
    async with server, relay(server.sockets[0].getsockname()[1]) as between:
        reader, writer = await asyncio.open_connection("127.0.0.1", between.port)
        writer.write(bytes(1000))
        assert len(await reader.read(-1)) == 2000
        assert between.bytes == 3000
        writer.close()
        await writer.wait_closed()


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
