"""The gear: files and interfaces in, batches out, as the contract wants it."""

import asyncio
import gzip
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from fluxrig.codec import encode_sequence
from fluxrig.errors import Fatal, NotReady
from fluxrig.testing import ManualClock, Workbench, check_gear, context
from gears.network_sniffer import capture_live
from gears.network_sniffer.config import MANIFEST, Config
from gears.network_sniffer.gear import NetworkSniffer

RECORDING = Path(__file__).parents[3] / "fluxrig" / "cli" / "demo" / "scada.pcap"


def may_capture():
    if not hasattr(socket, "AF_PACKET"):
        return False
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError:
        return False
    return True


live = pytest.mark.skipif(not may_capture(), reason="this process may not capture (CAP_NET_RAW)")


TALK = """
import socket, struct, sys, threading, time
asked, answer = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    peer = listener.accept()[0]
    while request := peer.recv(12, socket.MSG_WAITALL):
        peer.sendall(request[:2] + answer)
threading.Thread(target=serve, daemon=True).start()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
client = socket.create_connection(listener.getsockname())
began = time.monotonic()
for n in range(asked):
    client.sendall(struct.pack(">HHHBBHH", n & 0xFFFF, 0, 6, 1, 3, 5, 10))
    client.recv(len(answer) + 2, socket.MSG_WAITALL)
    early = n / 10_000 - (time.monotonic() - began)
    if early > 0.001:
        time.sleep(early)
"""
"""A client that asks and a server that answers, 20,000 packets a second; they begin when stdin ends."""


@pytest.fixture
def capture(wire, tmp_path):
    """Give the path of a capture of 40 exchanges, 84 ms long."""
    path = tmp_path / "plant.pcap"
    path.write_bytes(wire.pcap_bytes(wire.plant_tape(40).packets))
    return path


@pytest.fixture
async def chatter(wire):
    """Give the port on loopback over which a client and a server exchange Modbus without end."""

    async def answer(reader, writer):
        with suppress(asyncio.IncompleteReadError):
            while await reader.readexactly(12):
                writer.write(wire.read_response(1, 5, 2))
        writer.close()

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                writer.write(wire.read_request(1, 5, 2))
                await reader.readexactly(13)
                await asyncio.sleep(0.005)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = asyncio.create_task(ask(port))
    yield port
    client.cancel()
    await asyncio.gather(client, return_exceptions=True)
    server.close()
    await server.wait_closed()


async def run(gear):
    """Run a gear over a file to its end, and give its messages."""
    workbench = Workbench()
    await gear.open()
    await gear.run(workbench.emit)
    await gear.close()
    return workbench.out


async def test_conformance(capture):
    """The gear keeps the contract of all gears."""
    await check_gear(lambda ctx: NetworkSniffer(Config(file=capture), ctx), MANIFEST)


async def test_file(wire, capture):
    """A file gives every exchange on the gear's own path, then the counters, then the end."""
    messages = await run(NetworkSniffer(Config(file=capture), context("tap")))
    found = wire.transactions(messages)
    assert [data["status"] for data in found] == ["ok"] * 40
    assert {(message.src, message.uns) for message in messages} == {("rack/tap", "acme/lyon/tap")}
    assert messages[0].ts == found[0]["response"]["ts"]
    assert wire.counters(messages)["packets"] == 83


async def test_same_file_same_bytes(capture, tmp_path):
    """The same capture gives the same bytes again, compressed too; another gear's messages have other ids."""
    first = await run(NetworkSniffer(Config(file=capture), context("tap")))
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    again = await run(NetworkSniffer(Config(file=packed), context("tap")))
    assert encode_sequence(again) == encode_sequence(first)
    other = await run(NetworkSniffer(Config(file=capture), context("other")))
    assert not {message.id for message in other} & {message.id for message in first}


async def test_real_time(wire, capture):
    """A replay in real time lets each exchange out when it is due, with the bytes of a fast one."""
    fast = await run(NetworkSniffer(Config(file=capture), context("tap")))
    clock = ManualClock()
    gear = NetworkSniffer(Config(file=capture, replay="realtime"), context("tap", clock=clock))
    workbench = Workbench()
    task = asyncio.create_task(gear.run(workbench.emit))
    sizes = []
    async with asyncio.timeout(30):
        while not task.done():
            if clock.sleepers:
                sizes.append(len(workbench.out))
                await clock.advance(0.01)
            await asyncio.sleep(0.001)
    await task
    assert encode_sequence(workbench.out) == encode_sequence(fast)
    assert sizes[0] == 0
    assert sorted(sizes) == sizes
    assert 0 < sizes[-1] < len(fast)


async def test_repeat(wire, capture):
    """A repeated file begins again and again, each round with ids of its own."""
    gear = NetworkSniffer(Config(file=capture, repeat=True), context("tap"))
    workbench = Workbench()
    task = asyncio.create_task(gear.run(workbench.emit))
    messages = await workbench.wait_for(3 * 41)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    ids = [message.id for message in messages]
    assert len(set(ids)) == len(ids)


async def test_filter(wire, tmp_path):
    """A filter picks connections from a file."""
    one, other = wire.plant_tape(3), wire.Tape(server=("10.0.0.3", 502))
    other.exchange(1)
    path = tmp_path / "two.pcap"
    path.write_bytes(wire.pcap_bytes(sorted(one.packets + other.packets)))
    messages = await run(NetworkSniffer(Config(file=path, filter="host 10.0.0.3"), context()))
    assert [data["flow"]["server"]["ip"] for data in wire.transactions(messages)] == ["10.0.0.3"]


async def test_damaged_file(wire, capture):
    """A file that is cut gives what is there, one anomaly and one warning, then its end."""
    capture.write_bytes(capture.read_bytes()[:-20])
    messages = await run(NetworkSniffer(Config(file=capture), context()))
    assert [data["code"] for data in wire.anomalies(messages)] == ["capture_damaged"]
    assert len(wire.transactions(messages)) == 40


@pytest.mark.parametrize("content", [None, b"not a capture"])
async def test_no_capture(tmp_path, content):
    """A file that is missing or no capture is one clear error that trying again will not mend."""
    path = tmp_path / "nothing.pcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Fatal, match=r"nothing\.pcap"):
        await NetworkSniffer(Config(file=path), context()).open()


async def test_large_file_lets_others_run(wire, tmp_path):
    """While a large file is read, other tasks of the Rack get their turn again and again."""
    path = tmp_path / "large.pcap"
    path.write_bytes(wire.pcap_bytes(wire.plant_tape(3000).packets))
    task = asyncio.create_task(run(NetworkSniffer(Config(file=path), context())))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(await task) >= 3000
    assert turns > 10


async def test_recording_of_the_demo(wire):
    """The recording that ships gives exchanges, all answered, and no anomaly."""
    if not RECORDING.exists():
        pytest.skip("the recording is not there")
    messages = await run(NetworkSniffer(Config(file=RECORDING), context()))
    assert not wire.anomalies(messages)
    statuses = {message.data.get("status") for message in messages if message.schema == "ot.transaction/1"}
    assert statuses == {"ok", "exception"}


async def test_without_the_right(monkeypatch):
    """Without CAP_NET_RAW there is one error that says what to grant."""

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(capture_live.socket, "socket", refuse)
    with pytest.raises(Fatal, match=r"CAP_NET_RAW.*setcap"):
        await NetworkSniffer(Config(interface="lo"), context()).open()


@live
@pytest.mark.root
async def test_no_such_interface():
    """An interface that isn't there is named with those that are; it may still come."""
    with pytest.raises(NotReady, match=r"nosuch0.*\blo\b"):
        await NetworkSniffer(Config(interface="nosuch0"), context()).open()


@live
@pytest.mark.root
async def test_live_conformance(chatter):
    """The gear keeps the contract on an interface, too."""
    config = Config(interface="lo", filter=f"port {chatter}")
    await check_gear(lambda ctx: NetworkSniffer(config, ctx), MANIFEST)


@live
@pytest.mark.root
async def test_live_at_rate(wire):
    """Live at 20,000 packets a second, or what the machine can send: every exchange found, no drop."""
    asked = 20_000
    command = [sys.executable, "-c", TALK, str(asked), wire.read_response(0, 5, 10)[2:].hex()]
    talk = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: ASYNC220
    port = int(talk.stdout.readline())
    config = Config(interface="lo", filter=f"tcp port {port}", emit=("transaction", "capture"))
    gear = NetworkSniffer(config, context("tap"))
    workbench = Workbench()
    await gear.open()
    task = asyncio.create_task(gear.run(workbench.emit))
    talk.stdin.close()
    found = wire.transactions(await workbench.wait_for(asked, limit_s=60))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gear.close()
    talk.stdout.close()
    assert talk.wait(10) == 0
    assert [data["status"] for data in found] == ["ok"] * asked
    assert {tuple(data["read"]["values"]) for data in found} == {tuple(wire.values_at(5, 10))}
    counters = wire.counters(workbench.out)
    assert (counters["kernel_drops"], counters["gaps"]) == (0, 0)


@live
@pytest.mark.root
async def test_live(wire):
    """Live on loopback, every exchange of a real Modbus client and server is found once, with its values."""
    registers = SimData(0, values=wire.values_at(3, 100), datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(1, simdata=[registers]), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    config = Config(interface="lo", filter=f"tcp port {port}", emit=("transaction",))
    gear = NetworkSniffer(config, context("tap"))
    workbench = Workbench()
    await gear.open()
    task = asyncio.create_task(gear.run(workbench.emit))
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    for address in range(100):
        await client.read_holding_registers(address % 50, count=3, device_id=1)
    found = wire.transactions(await workbench.wait_for(100))
    client.close()
    await server.shutdown()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gear.close()
    assert [data["target"]["address"] for data in found] == [address % 50 for address in range(100)]
    for data in found:
        assert data["status"] == "ok"
        start = data["target"]["address"]
        assert data["read"]["values"] == wire.values_at(3, 100)[start : start + 3]
        assert 0 <= data["latency_us"] < 5_000_000
