"""The stdout gear on real pipes and files."""

import asyncio
import contextlib
import json
import os

import pytest

from fluxrig.errors import Fatal
from fluxrig.gear import Context
from gears.stdout.config import Config
from gears.stdout.gear import Stdout

CONTEXT = Context(rack="r", gear="g", uns="acme/line")


def make(fd, **values):
    gear = Stdout(Config.model_validate(values), CONTEXT)
    gear.fd = fd
    return gear


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


def batch(count, text="x"):
    return tuple(CONTEXT.message({"n": n, "text": text}) for n in range(count))


async def read_lines(fd, count):
    data = b""
    while data.count(b"\n") < count:
        data += await asyncio.to_thread(os.read, fd, 65536)
    return data.decode().splitlines()


async def test_each_message_is_one_line(pipe):
    """A batch comes out whole and in order."""
    await make(pipe[1]).process(batch(3), "in")
    assert [json.loads(line)["data"]["n"] for line in await read_lines(pipe[0], 3)] == [0, 1, 2]


async def test_a_file_takes_all_of_it(tmp_path):
    """Output to a file is complete, also when larger than one chunk."""
    path = tmp_path / "out"
    with path.open("wb") as file:
        await make(file.fileno(), format="hex").process(batch(500), "in")
    assert len(path.read_text().splitlines()) == 500


async def test_a_reader_that_does_not_read_does_not_block_the_rack(pipe):
    """While the pipe is full other tasks run; once it is read, everything arrives."""
    writing = asyncio.create_task(make(pipe[1]).process(batch(1000, "y" * 200), "in"))
    done, _ = await asyncio.wait([writing], timeout=0.1)
    assert not done
    assert len(await read_lines(pipe[0], 1000)) == 1000
    await writing


async def test_a_cancelled_batch_does_not_run_into_the_next(pipe):
    """After a batch was cut off the next one begins on a line of its own."""
    gear = make(pipe[1])
    writing = asyncio.create_task(gear.process(batch(1000, "y" * 200), "in"))
    await asyncio.wait([writing], timeout=0.1)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    rest = asyncio.create_task(gear.process((CONTEXT.message({"n": "last"}),), "in"))
    data = b""
    while b'"last"' not in data:
        data += await asyncio.to_thread(os.read, pipe[0], 65536)
    await rest
    assert json.loads(data.splitlines()[-1])["data"] == {"n": "last"}


async def test_a_reader_that_went_away_stops_the_gear_with_a_reason(pipe):
    """`fluxrig run … | head` ends in one clear line."""
    os.close(pipe[0])
    with pytest.raises(Fatal, match="nobody reads standard output"):
        await make(pipe[1]).process(batch(1), "in")


async def test_it_prints_on_the_standard_output(capfd):
    """Without a descriptor of its own it finds the process's."""
    gear = Stdout(Config(format="diagnostic"), CONTEXT)
    await gear.open()
    await gear.process(batch(1), "in")
    assert '"n": 0' in capfd.readouterr().out


async def test_a_process_without_standard_output_is_told_so(monkeypatch):
    """A service with a closed standard output gets a reason, not a traceback."""
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(Fatal, match="no standard output"):
        await Stdout(Config(), CONTEXT).open()
