"""Whatever goes wrong between a source and the Parquet, the ledger balances.

Each fault comes at moments that the dice choose, while two Racks send. From the environment: `CHAOS_ROUNDS`,
how often each fault comes; `CHAOS_RATE`, messages a second of each of the four sources; `CHAOS_OUTAGE`,
messages that a Rack stores while the Mixer is away; `CHAOS_SEED` repeats a run. `make chaos` is the long one.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509

from tests.chaos.link import linked, reason_to_skip
from tests.chaos.site import Site, can_step_clocks, site
from tests.processes import until

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))
RATE = int(os.environ.get("CHAOS_RATE", "200"))
OUTAGE = int(os.environ.get("CHAOS_OUTAGE", "1000"))
SEED = int(os.environ.get("CHAOS_SEED", secrets.randbelow(1 << 32)))

LIFE_S = 4
"""Of a certificate that a Rack is given to see it end."""

pytestmark = [
    pytest.mark.timeout(600 * ROUNDS + OUTAGE // 100),
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip()),
    pytest.mark.xdist_group("chaos"),
]


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    print(f"CHAOS_SEED={SEED} CHAOS_ROUNDS={ROUNDS}")
    folder = tmp_path_factory.mktemp("chaos")
    with linked(f"chaos-{os.getpid()}"[:14]) as link, site(folder, link, random.Random(SEED), RATE) as one:
        for rack in one.racks:
            until(lambda rack=rack: one.committed(rack), f"the first messages of {rack} in Parquet")
        yield one
        one.end()


def kill_rack(one: Site) -> None:
    one.racks["line-1"].kill()


def kill_leaf(one: Site) -> None:
    one.racks["line-1"].kill_server()


def kill_mixer(one: Site) -> None:
    """With it go the hub, which is its child, and the audit writers."""
    one.mixer.kill()


def kill_audit_writer(one: Site) -> None:
    """It is a part of the Mixer: killed with it in the middle of a commit."""
    until(one.commit_under_way, "a commit under way")
    one.mixer.kill()


def kill_hub(one: Site) -> None:
    one.mixer.kill_server()


def hub_without_connections(one: Site) -> None:
    """The hub dies and comes back while no Rack reaches it: it is there alone before the first dials in."""
    one.link.change(up=False)
    one.mixer.kill_server()
    one.pause(0.5, 1.5)
    one.link.change()


def certificate_renewed(one: Site) -> None:
    """A Rack's certificate is renewed over the Snake, then a short one ends under the link that showed it."""
    before = one.certificate("line-1").serial_number
    one.mixer.kill("--certificate-life", f"{LIFE_S}s")
    one.settle()
    one.age_certificate("line-1")
    until(lambda: one.certificate("line-1").serial_number != before, "a renewed certificate")
    one.racks["line-1"].kill_server()  # it dials with the new one
    shown = one.certificate("line-1")
    until(lambda: time.time() > shown.not_valid_after_utc.timestamp(), "the end of that certificate")
    until(lambda: one.certificate("line-1") != shown, "the certificate after it")
    one.mixer.kill()
    until(lambda: _left_s(one.certificate("line-1")) > LIFE_S, "a certificate of the usual life")


def _left_s(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp() - time.time()


def kill_everything(one: Site) -> None:
    one.mixer.kill()
    for rack in one.racks.values():
        rack.kill()


def cut(one: Site) -> None:
    """Packets vanish, and come through again."""
    one.link.change(up=False)
    one.pause(1.0, 2.5)
    one.link.change()


def half_open(one: Site) -> None:
    """The Mixer dies and comes back while nothing comes through: the leaf's connection leads nowhere."""
    one.link.change(up=False)
    one.mixer.kill()
    one.pause(0.5, 1.5)
    one.link.change()


def slow(one: Site) -> None:
    one.link.change(delay_s=1.0)
    one.pause(1.5, 2.5)
    one.link.change()


def lossy(one: Site) -> None:
    one.link.change(loss=0.05)
    one.pause(1.0, 2.5)
    one.link.change()


def thin(one: Site) -> None:
    """64 kbit/s, far less than what is accepted."""
    one.link.change(bytes_per_s=8000)
    one.pause(1.5, 2.5)
    one.link.change()


def outage(one: Site) -> None:
    """The Mixer is away until a Rack has stored many messages more."""
    one.link.change(up=False)
    wanted = one.accepted("line-1") + OUTAGE
    until(lambda: one.accepted("line-1") > wanted, f"{OUTAGE} messages on the leaf", 3600)
    one.link.change()


def leaf_disk_full(one: Site) -> None:
    with _full(one.disks["state-line-1"]):
        one.pause(1.0, 2.0)


def start_on_full_disk(one: Site) -> None:
    """A Rack that is started again where there is no byte left waits for room."""
    with _full(one.disks["state-line-1"]):
        one.racks["line-1"].kill()
        one.pause(1.0, 2.0)


def hub_disk_full(one: Site) -> None:
    with _full(one.disks["mixer/hub"]):
        one.pause(1.0, 2.0)


@contextmanager
def _full(disk: Path) -> Iterator[None]:
    """Leave no byte."""
    waste = disk / "waste"
    with suppress(OSError), waste.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    yield
    waste.unlink()


def clock_back(one: Site) -> None:
    """The time of day of a Rack and of the Mixer falls back by an hour, and they are killed in it."""
    _step(one, -3600)


def clock_ahead(one: Site) -> None:
    """The same, an hour ahead, and back again."""
    _step(one, 3600)


def _step(one: Site, seconds: int) -> None:
    if not can_step_clocks():
        pytest.skip("libfaketime is not installed")
    parts = (one.racks["line-1"], one.mixer)
    for part in parts:
        part.step_clock(0)
        part.kill(own_clock=True)
    one.pause(0.5, 1.5)
    for part in parts:
        part.step_clock(seconds)
    one.pause(1.2, 2.0)
    for part in parts:
        part.kill(own_clock=True)
    one.pause(1.0, 2.0)
    for part in parts:
        part.kill()


FAULTS = [
    kill_rack,
    kill_leaf,
    kill_mixer,
    kill_audit_writer,
    kill_hub,
    hub_without_connections,
    kill_everything,
    cut,
    half_open,
    slow,
    lossy,
    thin,
    outage,
    leaf_disk_full,
    start_on_full_disk,
    hub_disk_full,
    clock_back,
    clock_ahead,
    certificate_renewed,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_ledger_balances(running_site: Site, fault: Callable[[Site], None]) -> None:
    """None lost of those accepted, none twice in Parquet, none out of order within an asset."""
    one = running_site
    for _ in range(ROUNDS):
        one.pause()
        fault(one)
        one.settle()
    rows = one.balance()
    print(f"{fault.__name__}: {rows} rows balance")


def test_faults_at_once(running_site: Site) -> None:
    """A second fault that comes while the first is being mended does no harm either."""
    one = running_site
    plan = [fault for fault in FAULTS if fault not in (clock_back, clock_ahead)] * ROUNDS
    one.dice.shuffle(plan)
    for fault in plan[: 4 * ROUNDS]:
        fault(one)
        one.pause(0.05, 0.6)
    one.settle()
    one.balance()
