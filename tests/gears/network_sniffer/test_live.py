"""Live capture on interfaces of the tests' own: nothing missed, nothing sent, and what follows a failure."""

import asyncio
import struct
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import pytest
from pymodbus.client import AsyncModbusTcpClient

from fluxrig.errors import Disconnected, NotReady
from fluxrig.testing import Workbench, context
from gears.network_sniffer.capture_filter import parse_filter
from gears.network_sniffer.capture_live import LiveCapture
from gears.network_sniffer.config import Config
from gears.network_sniffer.gear import NetworkSniffer
from tests.gears.network_sniffer import veth

WITHOUT = veth.why_not()
pytestmark = [pytest.mark.skipif(WITHOUT is not None, reason=str(WITHOUT)), pytest.mark.root]

VALUES = [(7 * n + 3) & 0xFFFF for n in range(100)]


@pytest.fixture
def mirror():
    """Two wires: what is sent on `port0` arrives on `tap0`, and so with `port1` and `tap1`."""
    with veth.network():
        veth.pair("tap0", "port0")
        veth.pair("tap1", "port1")
        yield


class Listening:
    """A gear at work, and what it says."""

    def __init__(self, wire, **config):
        self.wire = wire
        self.gear = NetworkSniffer(Config(emit=("transaction", "capture"), **config), context("tap"))
        self.bench = Workbench()

    @property
    def found(self):
        return self.wire.transactions(self.bench.out)

    async def until(self, count, limit_s=30):
        """Wait for so many exchanges, and give them."""
        async with asyncio.timeout(limit_s):
            while len(self.found) < count:
                await self.bench.wait_for(len(self.bench.out) + 1, limit_s=limit_s)
        return self.found

    @asynccontextmanager
    async def at_work(self):
        await self.gear.open()
        task = asyncio.create_task(self.gear.run(self.bench.emit))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.gear.close()


def tagged(packets, *tags):
    """Give the frames with VLAN tags, the outer first."""
    tag = b"".join(struct.pack(">HH", tpid, vlan) for tpid, vlan in tags)
    return [packet._replace(data=packet.data[:12] + tag + packet.data[12:]) for packet in packets]


async def test_pymodbus_beside_a_flood(wire, tmp_path):
    """pymodbus on one interface and 20,000 packets a second on another: every exchange, and no drop."""
    flood = wire.plant_tape(20_000, seed=5)
    (tmp_path / "flood.pcap").write_bytes(wire.pcap_bytes(flood.packets))
    with veth.network(), veth.plant("line", VALUES) as plant:
        veth.pair("tap0", "port0")
        listening = Listening(wire, interface=["line", "tap0"], filter="tcp port 502")
        async with listening.at_work(), AsyncModbusTcpClient(plant) as client:
            with veth.sender("port0", tmp_path / "flood.pcap", 20_000) as sender:
                for n in range(500):
                    answer = await client.read_holding_registers(n % 90, count=5, device_id=1)
                    assert answer.registers == VALUES[n % 90 :][:5]
                assert await asyncio.to_thread(sender.wait, 60) == 0
            found = await listening.until(20_500)
    asked = [one for one in found if one["flow"]["server"]["ip"] == plant]
    assert [(one["target"]["address"], one["read"]["values"]) for one in asked] == [
        (n % 90, VALUES[n % 90 :][:5]) for n in range(500)
    ]
    assert {one["status"] for one in found} == {"ok"}
    assert len(found) == 20_500
    counters = wire.counters(listening.bench.out)
    assert (counters["kernel_drops"], counters["gaps"], counters["lost_bytes"]) == (0, 0, 0)


async def test_two_directions_on_two_interfaces(wire, mirror):
    """Requests on one interface and responses on another are paired: two taps make one capture."""
    listening = Listening(wire, interface=["tap0", "tap1"])
    async with listening.at_work():
        with veth.port("port0") as ask, veth.port("port1") as answer:
            for n in range(300):
                tape = wire.Tape(seqs=[1000 + 12 * n, 5_000_000 + 13 * n])
                tape.exchange(n, address=n)
                ask(tape.packets[:1])
                answer(tape.packets[1:])
                await asyncio.sleep(0.001)
        found = await listening.until(300)
    assert [one["status"] for one in found] == ["ok"] * 300
    assert [one["read"]["values"] for one in found] == [wire.values_at(n, 2) for n in range(300)]
    assert all("pairing" not in one for one in found)


@pytest.mark.parametrize(
    "tags",
    [[(0x8100, 7)], [(0x8100, 0x6FFF)], [(0x88A8, 100), (0x8100, 7)]],
    ids=["802.1Q", "priority", "802.1ad"],
)
async def test_vlan(wire, mirror, tags):
    """Frames with VLAN tags pass the kernel's filter and are read; they count with the length they had."""
    packets = wire.plant_tape(20).packets
    listening = Listening(wire, interface="tap0", filter="tcp port 502 and host 10.0.0.2")
    async with listening.at_work():
        veth.send("port0", tagged(packets, *tags))
        found = await listening.until(20)
    assert {one["status"] for one in found} == {"ok"}
    counters = wire.counters(listening.bench.out)
    assert counters["packets"] == len(packets)
    assert counters["bytes"] == sum(len(packet.data) + 4 * len(tags) for packet in packets)


async def test_nothing_is_sent(wire, mirror):
    """The gear sends no packet on what it listens to: not when it opens, at work, nor when it closes."""
    packets = wire.plant_tape(50).packets
    listening = Listening(wire, interface=["tap0", "tap1"], promiscuous=True)
    async with listening.at_work():
        veth.send("port0", packets)
        await listening.until(50)
    assert [veth.link(tap)["stats64"]["tx"]["packets"] for tap in ("tap0", "tap1")] == [0, 0]
    assert veth.link("tap0")["stats64"]["rx"]["packets"] == len(packets)


async def test_promiscuous_on_request(wire, mirror):
    """The interface is made promiscuous only when asked for, and only for as long as the gear listens."""
    for asked in (False, True):
        async with Listening(wire, interface="tap0", promiscuous=asked).at_work():
            assert veth.link("tap0")["promiscuity"] == int(asked)
        assert veth.link("tap0")["promiscuity"] == 0


async def test_interface_goes_and_comes(wire, mirror):
    """An interface that goes down is Disconnected after what it brought; down is NotReady; up goes on."""
    listening = Listening(wire, interface=["tap0", "tap1"])
    async with listening.at_work() as task:
        veth.send("port0", wire.plant_tape(10).packets)
        veth.ip("link", "set", "tap0", "down")
        with pytest.raises(Disconnected, match="tap0: Network is down"):
            await asyncio.wait_for(task, 30)
    assert len(listening.found) == 10
    with pytest.raises(NotReady, match="tap0: Network is down"):
        await listening.gear.open()
    veth.ip("link", "set", "tap0", "up")
    async with listening.at_work():
        veth.send("port0", wire.plant_tape(10, seed=2).packets)
        assert len(await listening.until(20)) == 20


async def test_interface_is_removed(wire, mirror):
    """An interface that is gone is Disconnected; one of the same name that comes later is captured on."""
    listening = Listening(wire, interface="tap0")
    async with listening.at_work() as task:
        veth.ip("link", "delete", "tap0")
        with pytest.raises(Disconnected, match="tap0"):
            await asyncio.wait_for(task, 30)
    with pytest.raises(NotReady, match=r"tap0.*no interface with this name"):
        await listening.gear.open()
    veth.pair("tap0", "port0")
    async with listening.at_work():
        veth.send("port0", wire.plant_tape(10).packets)
        assert len(await listening.until(10)) == 10


@pytest.mark.parametrize("rights", ["-net_raw", "-all,+net_raw"])
def test_cap_net_raw_is_the_right(rights):
    """A process without CAP_NET_RAW gets one line that says what to grant; with it alone, it may capture."""
    sniff = [sys.executable, "-m", "fluxrig", "sniff", "-i", "lo", "--promiscuous", "--json"]
    command = [
        "setpriv",
        f"--bounding-set={rights}",
        "timeout",
        "--preserve-status",
        "-s",
        "INT",
        "30" if rights == "-net_raw" else "2",
        *sniff,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if rights == "-net_raw":
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "CAP_NET_RAW" in done.stderr
        assert "setcap" in done.stderr
    else:
        assert done.returncode in (0, 130), done.stderr
        assert "error" not in done.stderr


async def test_a_full_ring_is_counted(wire, mirror):
    """Frames that find the ring full are counted as the kernel's drops; what it holds is read, in order."""
    packets = wire.plant_tape(10_000).packets
    capture = LiveCapture("tap0", parse_filter(""), promiscuous=False, ring_bytes=1 << 20)
    veth.send("port0", packets)
    read = []
    async with asyncio.timeout(30):
        while len(read) + capture.count_drops() < len(packets):
            read += capture.read()
            await asyncio.sleep(0.001)
    capture.close()
    assert 0 < len(read) < len(packets)
    assert [packet.data for packet in read] == [packet.data for packet in packets[: len(read)]]


@pytest.mark.parametrize("payload", [1, 1400, 60_000])
async def test_frames_of_any_size(wire, mirror, payload):
    """Frames come out of the ring byte for byte, with ascending times of now."""
    for end in ("tap0", "port0"):
        veth.ip("link", "set", end, "mtu", "65535")
    tape = wire.Tape()
    for n in range(40):
        tape.send(n % 2, bytes([n]) * payload)
    capture = LiveCapture("tap0", parse_filter("tcp"), promiscuous=False, ring_bytes=1 << 23)
    before_ns = time.time_ns()
    veth.send("port0", tape.packets)
    read = []
    async with asyncio.timeout(30):
        while len(read) < len(tape.packets):
            read += capture.read()
            await asyncio.sleep(0.001)
    capture.close()
    assert [(one.data, one.length) for one in read] == [(one.data, one.length) for one in tape.packets]
    times = [one.ts for one in read]
    assert before_ns <= times[0]
    assert times == sorted(times)
    assert times[-1] <= time.time_ns()
