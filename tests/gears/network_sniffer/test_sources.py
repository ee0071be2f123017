"""Where packets come from: folders of rotated files, files that grow, several interfaces; at what speed."""

import asyncio
import gzip
import hashlib
import zlib

import pytest

from fluxrig.codec import encode_sequence
from fluxrig.errors import Fatal, NotReady
from fluxrig.testing import ManualClock, Workbench, check_gear, context
from gears.network_sniffer.config import MANIFEST, Config
from gears.network_sniffer.gear import NetworkSniffer


async def run(config):
    workbench = Workbench()
    gear = NetworkSniffer(config, context("tap"))
    await gear.open()
    await gear.run(workbench.emit)
    await gear.close()
    return workbench.out


class Running:
    """A gear at work until the block ends."""

    def __init__(self, config):
        self.gear = NetworkSniffer(config, context("tap"))
        self.bench = Workbench()

    async def __aenter__(self):
        await self.gear.open()
        self.task = asyncio.create_task(self.gear.run(self.bench.emit))
        return self

    async def __aexit__(self, *_):
        await self.stop()
        await self.gear.close()

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def exchanges(self, wire, count):
        async with asyncio.timeout(20):
            await self.bench.wait_for(1)
            while len(wire.transactions(self.bench.out)) < count:
                await self.bench.wait_for(len(self.bench.out) + 1)
        return wire.transactions(self.bench.out)


async def test_folder(wire, tmp_path):
    """A folder of rotated files is one capture in the order of time, whatever their names and formats."""
    packets = wire.plant_tape(30).packets
    whole = tmp_path / "whole.pcap"
    whole.write_bytes(wire.pcap_bytes(packets))
    folder = tmp_path / "rotated"
    folder.mkdir()
    (folder / "tap9.pcap").write_bytes(wire.pcap_bytes(packets[:21]))
    (folder / "tap10.pcap").write_bytes(wire.pcapng_bytes(packets[21:40]))
    (folder / "a.pcap.gz").write_bytes(gzip.compress(wire.pcap_bytes(packets[40:])))
    (folder / "notes.txt").write_text("not a capture")
    (folder / "empty").touch()
    assert encode_sequence(await run(Config(file=folder))) == encode_sequence(await run(Config(file=whole)))


async def test_damaged_in_folder(wire, tmp_path):
    """A file that breaks off costs what is missing of it; the next one is read."""
    packets = wire.plant_tape(30).packets
    (tmp_path / "1.pcap").write_bytes(wire.pcap_bytes(packets[:20])[:-7])
    (tmp_path / "2.pcap").write_bytes(wire.pcap_bytes(packets[20:]))
    messages = await run(Config(file=tmp_path))
    assert wire.anomalies(messages)[0]["code"] == "capture_damaged"
    assert "1.pcap" in wire.anomalies(messages)[0]["detail"]
    assert wire.counters(messages)["packets"] == len(packets) - 1


async def test_empty_folder(tmp_path):
    """A folder without a capture is one clear error."""
    with pytest.raises(Fatal, match="no capture in the folder"):
        await NetworkSniffer(Config(file=tmp_path), context()).open()


@pytest.mark.parametrize("write", ["pcap_bytes", "pcapng_bytes"])
async def test_follow(wire, tmp_path, write):
    """What is written to a file that is followed comes out, also when a write ends inside a packet."""
    data = getattr(wire, write)(wire.plant_tape(20).packets)
    path = tmp_path / "growing.pcap"
    path.write_bytes(data[:10])
    async with Running(Config(file=path, follow=True)) as running:
        with path.open("ab") as file:
            for start, end, least in (
                (10, 1000, 1),
                (1000, len(data) - 100, 10),
                (len(data) - 100, None, 20),
            ):
                file.write(data[start:end])
                file.flush()
                found = await running.exchanges(wire, least)
        assert {one["status"] for one in found} == {"ok"}
        await running.stop()
        assert wire.counters(running.bench.out)["packets"] == 43
    whole = tmp_path / "whole.pcap"
    whole.write_bytes(data)
    followed = [message for message in running.bench.out if message.schema == "ot.transaction/1"]
    read = [message for message in await run(Config(file=whole)) if message.schema == "ot.transaction/1"]
    assert encode_sequence(followed) == encode_sequence(read)


async def test_follow_rotation(wire, tmp_path):
    """A followed file that is replaced goes on with its successor; nothing of either is lost."""
    packets = wire.plant_tape(20).packets
    path = tmp_path / "tap.pcap"
    path.write_bytes(wire.pcap_bytes(packets[:23]))
    async with Running(Config(file=path, follow=True)) as running:
        await running.exchanges(wire, 10)
        path.rename(tmp_path / "tap.pcap.1")
        path.write_bytes(wire.pcap_bytes(packets[23:]))
        found = await running.exchanges(wire, 20)
    assert [one["status"] for one in found] == ["ok"] * 20


async def test_follow_folder(wire, tmp_path):
    """A followed folder gives what is in it, then what is added."""
    packets = wire.plant_tape(20).packets
    (tmp_path / "tap1.pcap").write_bytes(wire.pcap_bytes(packets[:23]))
    async with Running(Config(file=tmp_path, follow=True)) as running:
        await running.exchanges(wire, 10)
        (tmp_path / "tap2.pcap").write_bytes(wire.pcap_bytes(packets[23:]))
        assert len(await running.exchanges(wire, 20)) == 20


async def test_follow_gzip(wire, tmp_path):
    """A compressed file that grows gives what its writer has flushed."""
    data = wire.pcap_bytes(wire.plant_tape(20).packets)
    path, packer = tmp_path / "growing.pcap.gz", zlib.compressobj(wbits=31)
    path.write_bytes(packer.compress(data[:1000]) + packer.flush(zlib.Z_SYNC_FLUSH))
    async with Running(Config(file=path, follow=True)) as running:
        assert 1 <= len(await running.exchanges(wire, 1)) < 20
        with path.open("ab") as file:
            file.write(packer.compress(data[1000:]) + packer.flush(zlib.Z_FINISH))
        assert len(await running.exchanges(wire, 20)) == 20


async def test_follow_gzip_of_several_members(wire, tmp_path):
    """A compressed file that grows by members gives each as it comes, also after one that came in parts."""
    data = wire.pcap_bytes(wire.plant_tape(20).packets)
    members = [gzip.compress(data[at : at + 1500]) for at in range(0, len(data), 1500)]
    path = tmp_path / "growing.pcap.gz"
    path.write_bytes(members[0] + members[1][:100])
    async with Running(Config(file=path, follow=True)) as running:
        assert 1 <= len(await running.exchanges(wire, 1)) < 20
        with path.open("ab") as file:
            file.write(members[1][100:] + b"".join(members[2:]))
        assert len(await running.exchanges(wire, 20)) == 20


@pytest.mark.parametrize("kept", [0, 10, 1000])
async def test_follow_truncated(wire, tmp_path, kept):
    """A followed file that is cut and written anew in place is read anew, also one cut within a packet."""
    packets = wire.plant_tape(20).packets
    path = tmp_path / "tap.pcap"
    path.write_bytes(wire.pcap_bytes(packets[:23]) + bytes(5))
    async with Running(Config(file=path, follow=True)) as running:
        await running.exchanges(wire, 10)
        with path.open("r+b") as file:
            file.truncate(0)
            file.write(wire.pcap_bytes(packets[23:])[:kept])
            file.flush()
            await asyncio.sleep(0.1)
            file.write(wire.pcap_bytes(packets[23:])[kept:])
            file.flush()
            found = await running.exchanges(wire, 20)
        await running.stop()
    assert [one["status"] for one in found] == ["ok"] * 20
    assert {one["code"] for one in wire.anomalies(running.bench.out)} == {"capture_damaged"}


async def test_follow_half_a_packet(wire, tmp_path):
    """A file that ends within a packet costs that packet when its successor comes, and is told."""
    packets = wire.plant_tape(20).packets
    path = tmp_path / "tap.pcap"
    path.write_bytes(wire.pcap_bytes(packets[:24])[:-7])
    async with Running(Config(file=path, follow=True)) as running:
        await running.exchanges(wire, 10)
        path.unlink()
        path.write_bytes(wire.pcap_bytes(packets[24:]))
        found = await running.exchanges(wire, 20)
        await running.stop()
    assert [one["status"] for one in found].count("ok") == 19
    assert {one["code"] for one in wire.anomalies(running.bench.out)} == {"capture_damaged", "gap"}
    assert wire.counters(running.bench.out)["packets"] == len(packets) - 1


@pytest.mark.parametrize("anew", ["cut", "removed"])
async def test_follow_ring_of_files(wire, tmp_path, anew):
    """A ring of files whose names come again, as tcpdump -W makes it, is read round after round."""
    packets = wire.plant_tape(60).packets
    rounds = [packets[:23], packets[23:43], packets[43:63], packets[63:83], packets[83:103], packets[103:]]
    async with Running(Config(file=tmp_path, follow=True)) as running:
        for number, part in enumerate(rounds):
            path = tmp_path / f"tap{number % 2}.pcap"
            if anew == "removed":
                path.unlink(missing_ok=True)
                await asyncio.sleep(0.1)
            path.write_bytes(wire.pcap_bytes(part)[: 24 if number else None])
            if number:
                await asyncio.sleep(0.1)
                with path.open("ab") as file:
                    file.write(wire.pcap_bytes(part)[24:])
            found = await running.exchanges(wire, 10 * (number + 1))
    assert [one["status"] for one in found] == ["ok"] * 60


async def test_follow_conforms(wire, tmp_path):
    """The gear keeps the contract also while it follows."""
    path = tmp_path / "tap.pcap"
    path.write_bytes(wire.pcap_bytes(wire.plant_tape(20).packets))
    config = Config(file=path, follow=True)
    await check_gear(lambda ctx: NetworkSniffer(config, ctx), MANIFEST)
    with pytest.raises(NotReady, match="yet"):
        await NetworkSniffer(Config(file=tmp_path / "none", follow=True), context()).open()


async def test_speed(wire, tmp_path):
    """A replay at twice the pace is over in half the time, with the same bytes."""
    path = tmp_path / "tap.pcap"
    path.write_bytes(wire.pcap_bytes(wire.plant_tape(40).packets))
    fast = await run(Config(file=path))
    lasted = []
    for speed in (1.0, 2.0):
        clock, workbench = ManualClock(), Workbench()
        gear = NetworkSniffer(Config(file=path, replay="realtime", speed=speed), context("tap", clock=clock))
        began = clock.monotonic_ns()
        task = asyncio.create_task(gear.run(workbench.emit))
        async with asyncio.timeout(30):
            while not task.done():
                if clock.sleepers:
                    await clock.advance(0.001)
                await asyncio.sleep(0)
        lasted.append(clock.monotonic_ns() - began)
        assert encode_sequence(workbench.out) == encode_sequence(fast)
    assert 1.8 <= lasted[0] / lasted[1] <= 2.2


async def test_whole_runs_have_one_hash(wire, tmp_path, monkeypatch):
    """Whole runs of the gear have one hash, whatever the batches, the slices and the speed."""
    from gears.network_sniffer import gear as module

    path = tmp_path / "tap.pcap"
    path.write_bytes(wire.pcap_bytes(wire.plant_tape(60, tids=3, silent=0.1).packets))
    hashes = set()
    for size in (1, 7, 4096):
        for name in ("BATCH", "SLICE", "READ_AHEAD"):
            monkeypatch.setattr(module, name, size)
        for options in ({}, {"replay": "realtime", "speed": 1000.0}):
            messages = await run(Config(file=path, **options))
            hashes.add(hashlib.sha256(encode_sequence(messages)).hexdigest())
    assert len(hashes) == 1
