"""What the world can reach: of a Rack nothing at all, of a Mixer the two ports that it is told to open."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.processes import FLUXRIG, MIXER, Running, free_port, join_token, running, until
from tests.sockets import family, listeners, outside

RACK_FILE = """
rack: line
uns: acme/lyon
snake: {}
gears:
  counter: {kind: simulate, rate: 100}
wires:
  - counter -> uplink
"""


@dataclass
class Plant:
    """A Mixer that listens for the whole network, and a Rack that is linked to it."""

    mixer: Running
    rack: Running
    snake: int
    enrol: int


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    data, snake, enrol = folder / "mixer", free_port(), free_port()
    up = ("up", "--data", str(data), "--listen", f"0.0.0.0:{snake}", "--enrol", f"0.0.0.0:{enrol}")
    (folder / "rack.yaml").write_text(RACK_FILE)
    with ExitStack() as stack:
        mixer = stack.enter_context(running((*MIXER, *up, "--advertise", "127.0.0.1"), folder / "mixer.log"))
        token = asyncio.run(join_token(data))
        run = ("run", str(folder / "rack.yaml"), "--state", str(folder / "state"))
        rack = stack.enter_context(running((*FLUXRIG, *run), folder / "rack.log", FLUXRIG_JOIN=token))
        until(lambda: "has come in" in mixer.said(), "the Rack's link", 60)
        until(lambda: "new Rack line" in mixer.said(), "the Rack's registration", 60)
        yield Plant(mixer, rack, snake, enrol)


def test_a_rack_listens_on_loopback_alone(plant: Plant) -> None:
    """None of its processes takes a connection or a datagram from another machine."""
    assert len(family(plant.rack.pid)) >= 2
    found = listeners(plant.rack.pid)
    assert found
    assert outside(found) == set()


def test_a_mixer_opens_two_ports_and_no_more(plant: Plant) -> None:
    """Those for Racks and for enrolment; the hub's client port is on loopback."""
    found = listeners(plant.mixer.pid)
    assert {port for _, port in outside(found)} == {plant.snake, plant.enrol}
    assert found - outside(found), "the client port"


def test_a_racks_own_port_takes_nobody_without_its_token(plant: Plant) -> None:
    """What another user of the machine finds on loopback is shut."""
    for address, port in listeners(plant.rack.pid):
        with socket.create_connection((address, port), 5) as plain:
            said = plain.recv(4096)
            if said.startswith(b"INFO"):
                plain.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
                assert b"Authorization Violation" in plain.recv(4096)


def test_the_look_itself_sees_what_is_open() -> None:
    """A socket that this process opens for all is found, on both protocols."""
    with (
        socket.create_server(("0.0.0.0", 0)) as stream,  # noqa: S104 - it must be seen
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("0.0.0.0", 0))  # noqa: S104 - it must be seen
        seen = outside(listeners(os.getpid()))
        assert {stream.getsockname(), datagrams.getsockname()} <= seen
