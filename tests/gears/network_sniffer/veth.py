"""A network of a test's own: veth pairs in a namespace, on which nothing is sent unless the test sends it."""

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

CLONE_NEWNET = 0x40000000

SEND = """
import socket, sys, time
interface, packets_per_s, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
data, frames, at = open(path, "rb").read(), [], 24
while at < len(data):
    size = int.from_bytes(data[at + 8 : at + 12], "little")
    frames.append(data[at + 16 : at + 16 + size])
    at += 16 + size
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((interface, 0))
began = time.monotonic()
for n, frame in enumerate(frames):
    sender.send(frame)
    early = n / packets_per_s - (time.monotonic() - began)
    if early > 0.001:
        time.sleep(early)
"""

SERVE = """
import asyncio, sys
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
async def main():
    registers = SimData(0, values=list(map(int, sys.argv[2].split(","))), datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(1, simdata=[registers]), address=(sys.argv[1], 502))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()
sys.stdin.readline()
asyncio.run(main())
"""


def why_not():
    """Give the reason why there can be no such network, None if there can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    try:
        attempt = ["unshare", "-n", "ip", "link", "add", "t0", "type", "veth"]
        allowed = subprocess.run(attempt, check=False, capture_output=True).returncode == 0
    except OSError:
        allowed = False
    return None if allowed else "this process may not make network namespaces with veth pairs"


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)  # noqa: S607
    assert done.returncode == 0, done.stderr
    return done.stdout


def pair(name, peer):
    """Add two interfaces, wired to each other, up and without addresses."""
    ip("link", "add", name, "type", "veth", "peer", "name", peer)
    for end in (name, peer):
        ip("link", "set", end, "up")


def link(name):
    """Tell what the kernel knows of an interface."""
    return json.loads(ip("-s", "-d", "-j", "link", "show", name))[0]


@contextmanager
def port(name):
    """Give a function that sends frames on an interface."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((name, 0))

        def send(packets):
            for packet in packets:
                raw.send(packet.data)

        yield send


def send(name, packets):
    """Send frames on an interface at once."""
    with port(name) as send_all:
        send_all(packets)


def sender(name, pcap, packets_per_s):
    """Start to send the frames of a pcap file, so many a second."""
    return subprocess.Popen([sys.executable, "-c", SEND, name, str(packets_per_s), str(pcap)])


@contextmanager
def network():
    """Take this thread into a network namespace, which is gone afterwards with all that is in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            _be_silent()
            ip("link", "set", "lo", "up")
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0
    finally:
        os.close(home)


@contextmanager
def plant(name, values):
    """Run pymodbus's server in a namespace of its own; give its address. `name` is our end of the wire."""
    command = ["unshare", "-n", sys.executable, "-c", SERVE, "10.99.0.2", ",".join(map(str, values))]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        _wait_for_namespace(server.pid)
        ip("link", "add", name, "type", "veth", "peer", "name", "plant", "netns", str(server.pid))
        ip("addr", "add", "10.99.0.1/30", "dev", name)
        ip("link", "set", name, "up")
        there = "ip addr add 10.99.0.2/30 dev plant && ip link set plant up"
        enter = ["nsenter", "-t", str(server.pid), "-n", "sh", "-c", there]
        subprocess.run(enter, check=True)
        server.stdin.write("\n")
        server.stdin.flush()
        assert server.stdout.readline() == "ready\n"
        yield "10.99.0.2"
    finally:
        server.kill()
        server.communicate()


def _wait_for_namespace(pid):
    """Wait until `unshare` has done its work."""
    deadline_s = time.monotonic() + 10
    while Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def _be_silent():
    """Without IPv6, the kernel sends nothing of itself."""
    for which in ("default", "all"):
        with suppress(FileNotFoundError):
            Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
