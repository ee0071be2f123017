"""A Rack keeps its enrolment while it runs, against a real enrolment server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxrig.bus import LeafRemote
from fluxrig.clock import SystemClock
from fluxrig.errors import BusUnavailable, FluxrigError
from fluxrig.identity.address import Address
from fluxrig.rackfile.model import RackSpec, SnakeSpec
from mixer.enrolment.registry import State
from racks.enrolment import PATIENCE_S, Enrolment
from tests.mixer.enrolment.office import RACK, UNS, Edge, Office, opened


class Quick(SystemClock):
    """Waits a hundredth of what is asked for, and tells the time accordingly."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)
        self.ahead_ns += int(seconds * 0.99e9)


class Wire:
    """The link as the Rack sees it: up or down, dialled where, and a Mixer that renews."""

    def __init__(self, office: Office) -> None:
        self.up = False
        self.dialled: list[LeafRemote] = []
        self.office = office
        self.renewals = 0

    async def dial(self, remote: LeafRemote) -> None:
        self.dialled.append(remote)

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        if not self.up:
            raise BusUnavailable("nobody answers")
        assert subject == f"fluxrig.mixer.{RACK}.renew"
        self.renewals += 1
        return self.office.desk.renew("default", RACK, payload).model_dump_json().encode()


def spec(join: str = "", uns: str = UNS, name: str = RACK, **snake: Any) -> RackSpec:
    return RackSpec(name, uns, SnakeSpec(join=join, **snake), {}, ())


@asynccontextmanager
async def running(enrolment: Enrolment, wire: Wire) -> AsyncIterator[None]:
    task = asyncio.create_task(enrolment.run(wire, wire, wire.dial))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another task
            await asyncio.sleep(0.01)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(tmp_path / "mixer") as office:
        yield office


async def test_a_join_token_in_the_rack_file_is_enough(office: Office, tmp_path: Path) -> None:
    """Let in at once, the leaf knows where to dial and with what before it starts."""
    file = tmp_path / "join"
    file.write_text(office.token(approve=True).encode())
    file.chmod(0o600)
    enrolment = Enrolment(spec(join_file=file), tmp_path / "state", SystemClock())
    remote = await enrolment.start()
    assert remote is not None
    assert remote.addresses == (Address("127.0.0.1", 7422),)
    assert all(path and path.is_file() for path in (remote.ca, remote.certificate, remote.key))
    file.unlink()  # it is read once
    again = Enrolment(spec(join_file=file, host="10.0.0.1", port=9), tmp_path / "state", SystemClock())
    remote = await again.start()
    assert remote is not None
    assert remote.addresses == (Address("10.0.0.1", 9),)


async def test_the_environment_may_name_a_file(office: Office, tmp_path: Path) -> None:
    """As with `fluxrig enroll`: the token itself, or the path of a file with it."""
    file = tmp_path / "join"
    file.write_text(office.token(approve=True).encode())
    file.chmod(0o600)
    assert await Enrolment(spec(str(file)), tmp_path / "state", SystemClock()).start()


async def test_a_rack_that_waits_for_approval_dials_when_it_has_it(office: Office, tmp_path: Path) -> None:
    """It runs meanwhile; `dial` hears of it as soon as the operator has said yes."""
    wire = Wire(office)
    enrolment = Enrolment(spec(office.token().encode()), tmp_path, SystemClock())
    assert await enrolment.start() is None
    assert f"mixer racks approve {RACK}" in enrolment.trouble
    assert enrolment.where == f"127.0.0.1:{office.server.port}"
    async with running(enrolment, wire):
        office.registry.approve(office.rack(), "op")
        await until(lambda: wire.dialled)
    assert (enrolment.trouble, enrolment.where) == ("", "127.0.0.1:7422")


async def test_a_mixer_that_is_away_is_waited_for(office: Office, tmp_path: Path) -> None:
    """The first start of a Rack while the Mixer is away is no error."""
    token = office.token(approve=True)
    await office.server.stop()
    enrolment = Enrolment(spec(token.encode()), tmp_path / "state", SystemClock())
    assert await enrolment.start() is None


@pytest.mark.parametrize("wrong", ["", "fluxrig-join-1.cut", "/no/such/file"])
async def test_without_a_token_it_says_what_to_do(tmp_path: Path, wrong: str) -> None:
    """No token, a broken one, a missing file: the Rack does not start, and one line says why."""
    chosen = {"join_file": Path(wrong)} if wrong.startswith("/") else {"join": wrong}
    with pytest.raises(FluxrigError) as told:
        await Enrolment(spec(**chosen), tmp_path, SystemClock()).start()
    assert "\n" not in str(told.value)
    assert "join token" in str(told.value)


async def test_a_refusal_at_the_start_is_an_error(office: Office, tmp_path: Path) -> None:
    """A used token or a path that another Rack has: better told at once than stored under a wrong name."""
    token = office.token(approve=True, uns="acme/paris")
    with pytest.raises(FluxrigError, match="the join token is for acme/paris"):
        await Enrolment(spec(token.encode()), tmp_path / "state", SystemClock()).start()


async def test_name_and_path_are_for_good(office: Office, edge: Edge, tmp_path: Path) -> None:
    """A Rack file with another name or path than is enrolled does not run, before anything is stored."""
    await edge.join(office.token(approve=True))
    state = edge.folder.path.parent
    with pytest.raises(FluxrigError, match="a Rack keeps its name"):
        await Enrolment(spec(name="renamed"), state, SystemClock()).start()
    with pytest.raises(FluxrigError, match="is enrolled for acme/lyon/press, but its file says uns: acme"):
        await Enrolment(spec(uns="acme"), state, SystemClock()).start()
    assert await Enrolment(spec(uns=f"{UNS}/below"), state, SystemClock()).start()


async def test_a_certificate_is_renewed_over_the_snake(office: Office, edge: Edge) -> None:
    """At half its life, for the same keys, again and again, and the leaf hears of each."""
    office.certificates_live(100)
    first = await edge.join(office.token(approve=True))
    wire, enrolment = Wire(office), Enrolment(spec(), edge.folder.path.parent, Quick())
    await enrolment.start()
    wire.up = True
    async with running(enrolment, wire):
        await until(lambda: wire.renewals >= 1 and len(wire.dialled) >= 1)
    assert enrolment.identity is not None
    assert enrolment.identity.keys().public == first.keys().public
    assert enrolment.identity.issued_s > first.issued_s


async def test_a_rack_that_slept_past_its_end_enrols_again(office: Office, edge: Edge) -> None:
    """The Snake can't come up with what it has; the enrolment port knows the keys."""
    office.certificates_live(-300)
    await edge.join(office.token(approve=True))
    office.certificates_live(3600)
    clock = Quick()
    wire, enrolment = Wire(office), Enrolment(spec(), edge.folder.path.parent, clock)
    await enrolment.start()
    async with running(enrolment, wire):
        await until(lambda: wire.dialled)
        assert clock.ahead_ns < PATIENCE_S * 1e9 / 2, "there was nothing to wait for"
    assert enrolment.identity is not None
    assert enrolment.identity.expires_s > SystemClock().now_ns() / 1e9 + 3000


async def test_a_rack_that_is_out_knows_why(
    office: Office, edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """Suspended: told once, asked again now and then, and back by itself when it is resumed."""
    await edge.join(office.token(approve=True))
    office.registry.suspend(office.rack(), "op", "repair")
    wire, enrolment = Wire(office), Enrolment(spec(), edge.folder.path.parent, Quick())
    await enrolment.start()
    async with running(enrolment, wire):
        await until(lambda: enrolment.trouble)
        assert enrolment.trouble == (f"the Mixer keeps this Rack out: Rack {RACK} is suspended (repair)")
        office.registry.resume(office.rack(), "op")
        await until(lambda: wire.dialled)
        assert enrolment.trouble == ""
    assert sum("suspended (repair)" in text for text in caplog.messages if "refused" not in text) == 1


async def test_new_keys_are_taken_up_while_it_runs(office: Office, edge: Edge) -> None:
    """Revoked and enrolled anew beside the running Rack: no restart is needed."""
    identity = await edge.join(office.token(approve=True))
    old = identity.keys().public
    office.registry.revoke(office.rack(), "op")
    wire, enrolment = Wire(office), Enrolment(spec(), edge.folder.path.parent, Quick())
    await enrolment.start()
    async with running(enrolment, wire):
        await until(lambda: "were revoked" in enrolment.trouble)
        await edge.join(office.token(approve=True, rack=RACK), new_keys=True)
        await until(lambda: wire.dialled)
    assert enrolment.identity is not None
    assert enrolment.identity.keys().public != old
    assert office.rack().state is State.APPROVED


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge(tmp_path / "state")
