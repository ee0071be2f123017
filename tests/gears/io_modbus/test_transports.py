"""Every transport against a real server: values come, writes arrive, a peer that goes is found again."""

import asyncio
import fcntl
import os
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from pymodbus import FramerType

from fluxrig.errors import NotReady
from fluxrig.testing import context
from gears.io_modbus.config import Config, TlsConfig
from gears.io_modbus.gear import IoModbus
from gears.io_modbus.tls import TlsFileError, tls_context
from tests.gears.io_modbus.peers import SERVERS, PtyBridge, certificates, server_context, start_server

KINDS = ["tcp", "tls", "udp", "rtu+tcp", "ascii+tcp", "rtu", "ascii"]
FRAMERS = {"rtu": FramerType.RTU, "ascii": FramerType.ASCII}
TAGS = {
    "n": {"at": "holding/3", "type": "int32", "order": "CDAB"},
    "setpoint": {"at": "holding/10", "type": "float32", "write": True},
    "on": {"at": "coil/5", "write": True},
}


@pytest.fixture
async def endpoint(request, tmp_path):
    """A server of units 1 and 7 behind the transport named, and what a gear has to be told of it."""
    kind, more = request.param, {}
    if kind == "tls":
        certificate, key = certificates(tmp_path)
        more = {"sslctx": server_context(certificate, key)}
    framer = FRAMERS.get(kind.removesuffix("+tcp"), FramerType.TLS if kind == "tls" else FramerType.SOCKET)
    server, port = await start_server(1, 7, kind=SERVERS.get(kind, SERVERS["tcp"]), framer=framer, **more)
    bridge = None
    url, settings = f"{kind}://127.0.0.1:{port}", {}
    if kind in FRAMERS:
        bridge = PtyBridge(port)
        await bridge.start()
        url = f"{kind}://{bridge.path}?baud=115200"
    if kind == "tls":
        settings = {"tls": {"ca": str(tmp_path / "device.crt")}}
    yield {"endpoint": url, **settings}, server, bridge
    if bridge:
        await bridge.stop()
    await server.shutdown()


def registers(value):
    return [value & 0xFFFF, value >> 16 & 0xFFFF]


@pytest.mark.parametrize("endpoint", KINDS, indirect=True)
async def test_values_come_and_writes_arrive(endpoint, poll):
    """Two units over one line: each has its own values; a float and a coil are written and read back."""
    settings, server, _ = endpoint
    for unit in (1, 7):
        await server.async_setValues(unit, 3, 3, registers(unit * 1_000_000))
    devices = {"one": {"unit": 1, "tags": TAGS}, "seven": {"unit": 7, "tags": TAGS}}
    rig = await poll(0, {}, devices=devices, **settings)
    ask = context("operator").message({"seven/setpoint": 2.5, "seven/on": True, "one/n": 1})
    for name, n in (("one", 1_000_000), ("seven", 7_000_000)):
        await rig.until(lambda message, name=name, n=n: message.uns.endswith(name) and message.data["n"] == n)
    outputs = await rig.gear.process((ask,), "in")
    accounts = {each.data["tag"]: each.data["status"] for each in outputs.ports["out"]}
    assert accounts == {"setpoint": "written", "on": "written", "n": "refused"}
    await rig.until(lambda message: message.uns.endswith("seven") and message.data["setpoint"] == 2.5)
    one = next(message for message in reversed(rig.out) if message.uns.endswith("one"))
    assert (one.data["setpoint"], one.data["on"]) == (0.0, False)
    assert await server.async_getValues(7, 1, 5) == [True]
    assert not rig.losses


@pytest.mark.parametrize("endpoint", ["rtu", "ascii"], indirect=True)
@pytest.mark.parametrize("hurt", ["crc", "foreign", "late", "lost", "noise", "cut"])
async def test_a_hurt_serial_line_gives_no_wrong_value(endpoint, poll, hurt, monkeypatch):
    """Noise, a foreign frame, a late or missing answer: no wrong value, and right ones again by itself."""
    monkeypatch.setattr("gears.io_modbus.unit.FIRST_WAIT_S", 0.02)
    settings, server, bridge = endpoint
    await server.async_setValues(1, 3, 3, registers(1_000_001))
    await server.async_setValues(1, 3, 103, registers(2_000_002))
    tags = {"a": {"at": "holding/3", "type": "int32", "order": "CDAB"}}
    tags["b"] = {**tags["a"], "at": "holding/103"}
    answers = 0

    def change(data):
        nonlocal answers
        answers += 1
        if answers % 6 != 4:
            return data
        return {
            "crc": lambda: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
            "foreign": lambda: bytes([data[0] ^ 3]) + data[1:],
            "lost": lambda: b"",
            "noise": lambda: b"\xff\x00\x55" + data,
            "cut": lambda: data[:4],
            "late": lambda: late(data),
        }[hurt]()

    async def late(data):
        await asyncio.sleep(0.2)
        return data

    bridge.hurt = change
    rig = await poll(0, tags, response_timeout="120ms", every="20ms", max_hole=0, **settings)
    await rig.until_true(lambda: len(rig.losses) >= 3)
    lost = len(rig.out)
    await rig.until_true(lambda: sum(None not in message.data.values() for message in rig.out[lost:]) >= 2)
    for message in rig.out:
        assert message.data["a"] in (1_000_001, None)
        assert message.data["b"] in (2_000_002, None)


async def test_a_serial_line_that_is_not_there_is_told_and_found(poll, tmp_path):
    """An adapter that is unplugged: one message, one event with what to check, and values when it is back."""
    server, port = await start_server(1, framer=FramerType.RTU)
    bridge = PtyBridge(port)
    rig = await poll(0, {"n": {"at": "holding/0"}}, endpoint="rtu:///dev/fluxrig-no-such-line")
    await rig.until_true(lambda: rig.losses)
    assert "check the device and its rights" in str(rig.losses[0])
    assert rig.events == ["disconnected"]
    await rig.stop()
    await bridge.start()
    rig = await poll(0, {"n": {"at": "holding/0"}}, endpoint=f"rtu://{bridge.path}")
    await rig.until(lambda message: message.data["n"] == 0)
    await rig.stop()
    await bridge.stop()
    await server.shutdown()


async def test_a_serial_line_that_another_program_uses_is_left_to_it(poll):
    """Two masters would spoil each other's answers: it is told, and polled once the other has let go."""
    server, port = await start_server(1, framer=FramerType.RTU)
    bridge = PtyBridge(port)
    await bridge.start()
    other = os.open(bridge.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    rig = await poll(0, {"n": {"at": "holding/0"}}, endpoint=f"rtu://{bridge.path}")
    await rig.until_true(lambda: rig.losses)
    assert "another program uses it" in str(rig.losses[0])
    os.close(other)
    await rig.until(lambda message: message.data["n"] == 0)
    await rig.stop()
    await bridge.stop()
    await server.shutdown()


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_datagram_that_nobody_takes_leaves_no_socket_behind(poll, monkeypatch):
    """The system says that nobody listens there; however often that is, the sockets are closed."""
    monkeypatch.setattr("gears.io_modbus.unit.LONGEST_WAIT_S", 0.01)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    rig = await poll(0, {"n": {"at": "holding/0"}}, endpoint=f"udp://127.0.0.1:{port}")
    await rig.until_true(lambda: len(rig.losses) >= 2)
    before = open_files()
    await rig.until_true(lambda: len(rig.losses) >= 12)
    assert open_files() <= before + 2
    assert {loss.reason for loss in rig.losses} == {"disconnected"}


@pytest.mark.parametrize("endpoint", ["tls"], indirect=True)
async def test_a_device_that_nobody_vouches_for_is_not_read(endpoint, poll):
    """Without its signer the connection is refused, in words; with verify: false it is taken."""
    settings, _, _ = endpoint
    rig = await poll(0, {"n": {"at": "holding/0"}}, endpoint=settings["endpoint"])
    await rig.until_true(lambda: rig.losses)
    assert "TLS" in str(rig.losses[0])
    assert [message.data for message in rig.out] == [{"n": None}]
    await rig.stop()
    rig = await poll(0, {"n": {"at": "holding/0"}}, endpoint=settings["endpoint"], tls={"verify": False})
    await rig.until(lambda message: message.data["n"] == 0)


@pytest.mark.parametrize("key", ["ca", "certificate", "key"])
@pytest.mark.parametrize(("hurt", "why"), [("missing", "no such file"), ("empty", "in PEM")])
async def test_a_tls_file_that_is_missing_or_broken_is_named(tmp_path, key, hurt, why):
    """The key of the configuration, the file and why, before anything is connected."""
    files = dict(zip(("certificate", "key"), map(str, certificates(tmp_path)), strict=True))
    files |= {"ca": files["certificate"]} | {key: str(tmp_path / "there.pem")}
    if hurt == "empty":
        (tmp_path / "there.pem").touch()
    assert_named(files, key, why)


async def test_a_locked_key_is_refused_and_no_password_asked_for(tmp_path):
    """OpenSSL would ask at the terminal, and the Rack would stand still."""
    files = dict(zip(("certificate", "key"), map(str, certificates(tmp_path)), strict=True))
    key = serialization.load_pem_private_key((tmp_path / "device.key").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "device.key").write_bytes(locked)
    assert_named(files, "key", "without a password")


def assert_named(files, key, why):
    with pytest.raises(TlsFileError) as caught:
        tls_context(TlsConfig(**files))
    assert f"{key!r}, {files[key]}, " in str(caught.value)
    assert why in str(caught.value)


async def test_a_gear_without_its_tls_files_waits_for_them(tmp_path):
    """It is tried again until they are there, instead of saying that the device refuses the connection."""
    tls = {"ca": str(tmp_path / "none.pem")}
    values = {"endpoint": "tls://127.0.0.1:1", "tls": tls, "tags": {"n": {"at": "holding/0"}}}
    gear = IoModbus(Config.model_validate(values), context("press"))
    with pytest.raises(NotReady, match=r"none\.pem"):
        await gear.open()
    await gear.close()
