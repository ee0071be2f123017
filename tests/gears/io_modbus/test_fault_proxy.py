"""A real server behind a proxy that hurts what unit 2 answers; unit 1 is behind the same endpoint.

Register r of unit u always holds 1000 u + r: any value that belongs to another register or unit shows.
"""

import asyncio
import random
import struct
from itertools import pairwise

import pytest

from fluxrig.modbus.quality import EXCEPTIONS
from tests.gears.io_modbus.peers import FaultProxy, start_server

ADDRESSES = (0, 1, 60, 61, 150)
TIMEOUT_S = 0.3
CLOSE, HANG = FaultProxy.CLOSE, FaultProxy.HANG


async def late(answer):
    await asyncio.sleep(TIMEOUT_S * 1.5)
    return answer


async def half(answer):
    await asyncio.sleep(TIMEOUT_S * 0.2)
    return [answer[:7], answer[7:]]


def patched(answer, place, value):
    return answer[:place] + bytes([value]) + answer[place + 1 :]


FATAL = {
    "late": late,
    "wrong transaction": lambda answer: patched(answer, 1, answer[1] ^ 1),
    "old transaction": lambda answer: struct.pack(">H", int.from_bytes(answer[:2]) - 1) + answer[2:],
    "wrong unit": lambda answer: patched(answer, 6, 1),
    "wrong function": lambda answer: patched(answer, 7, 4),
    "length too long": lambda answer: patched(answer, 5, answer[5] + 2),
    "length too short": lambda answer: patched(answer, 5, answer[5] - 2),
    "another count": lambda answer: patched(patched(answer, 5, 5), 8, 2)[:11],
    "truncated": lambda answer: answer[:-1],
    "garbage": lambda answer: random.Random(1).randbytes(40),
    "two answers": lambda answer: answer + answer,
    "half open": lambda answer: HANG,
    "closed": lambda answer: CLOSE,
    "swallowed": lambda answer: None,
}
HARMLESS = {
    "byte by byte": lambda answer: [bytes([byte]) for byte in answer],
    "slow": half,
    "whole": lambda answer: answer,
}


@pytest.fixture
async def plant_of_two():
    server, port = await start_server(1, 2)
    for unit in (1, 2):
        await server.async_setValues(unit, 3, 0, [1000 * unit + n for n in range(200)])
    proxy = FaultProxy(port)
    await proxy.start()
    yield proxy
    await proxy.stop()
    await server.shutdown()


@pytest.fixture
async def two(plant_of_two, poll, monkeypatch):
    """Start a gear that polls both units through the proxy, and asks one that is away often."""
    monkeypatch.setattr("gears.io_modbus.unit.LONGEST_WAIT_S", 0.1)
    monkeypatch.setattr("gears.io_modbus.unit.LONGEST_SHARING_S", 0.2)

    async def start(**settings):
        tags = {f"r{n}": {"at": f"holding/{n}"} for n in ADDRESSES}
        devices = {f"u{unit}": {"unit": unit, "tags": tags} for unit in (1, 2)}
        terms = {"every": "20ms", "response_timeout": f"{TIMEOUT_S * 1000:g}ms", "max_hole": 10, **settings}
        return plant_of_two, await poll(plant_of_two.own_port, {}, devices=devices, **terms)

    return start


def of(rig, unit):
    return [message for message in rig.out if message.uns.endswith(f"u{unit}")]


def good(messages):
    return [message for message in messages if None not in message.data.values()]


def news_of(rig, unit):
    news = [message.data for message in rig.bench.emitted["error"] if message.data["unit"] == unit]
    return [data["event"] for data in news if data["event"] != "overrun"]


def assert_no_wrong_value(rig):
    for unit in (1, 2):
        for message in of(rig, unit):
            for name, value in message.data.items():
                assert value in (1000 * unit + int(name[1:]), None)
                assert (value is None) == message.meta.get(f"quality.{name}", "good").startswith(
                    ("bad", "stale")
                )


async def more(rig, unit, count):
    have = len(good(of(rig, unit)))
    await rig.until_true(lambda: len(good(of(rig, unit))) >= have + count)


@pytest.mark.parametrize("fault", FATAL)
async def test_a_hurt_answer_hurts_nobody_else(two, fault):
    """No wrong value; the unit turns bad and comes back by itself; while it is away, waiting for it holds up
    nobody: the other unit's polls are never a response time-out apart."""
    proxy, rig = await two()
    await more(rig, 1, 2)
    await more(rig, 2, 2)
    proxy.fault = lambda unit, answer: FATAL[fault](answer) if unit == 2 else answer
    await rig.until_true(lambda: of(rig, 2)[-1].data["r0"] is None)
    begin = len(rig.out)
    probes = len(rig.losses)
    await rig.until_true(lambda: len(rig.losses) >= probes + 1)
    await more(rig, 1, 10)
    during = rig.out[begin:]
    stamps = [message.ts for message in during if message.uns.endswith("u1")]
    gaps = [after - before for before, after in pairwise(stamps)]
    assert max(gaps) / 1e9 < TIMEOUT_S * 0.9
    assert not good(message for message in during if message.uns.endswith("u2"))
    proxy.fault = lambda unit, answer: answer
    await more(rig, 2, 3)
    assert_no_wrong_value(rig)
    assert news_of(rig, 1) == ["connected"]
    assert news_of(rig, 2) == ["connected", "disconnected", "connected"]


@pytest.mark.parametrize("fault", HARMLESS)
async def test_a_clumsy_answer_is_as_good_as_any(two, fault):
    """In pieces or slowly: nothing is lost."""
    proxy, rig = await two(response_timeout="10s")
    proxy.fault = lambda unit, answer: HARMLESS[fault](answer) if unit == 2 else answer
    await more(rig, 1, 3)
    await more(rig, 2, 3)
    assert_no_wrong_value(rig)
    assert not rig.losses


@pytest.mark.parametrize("code", [*EXCEPTIONS, 9, 99])
async def test_every_exception_is_told_by_its_name(two, code):
    """The unit's tags say why, the other unit's are good meanwhile, and all is well afterwards."""
    proxy, rig = await two(busy_retries=0, response_timeout="10s")
    await more(rig, 2, 1)
    proxy.fault = lambda unit, answer: (
        answer[:5] + bytes([3, unit, answer[7] | 0x80, code]) if unit == 2 else answer
    )
    reason = f"bad:{EXCEPTIONS.get(code, f'exception_{code}')}"
    await rig.until(lambda message: message.meta.get("quality.r0") == reason and message.uns.endswith("u2"))
    await more(rig, 1, 5)
    proxy.fault = lambda unit, answer: answer
    if code not in (2, 3):
        await more(rig, 2, 2)
    assert_no_wrong_value(rig)
    assert not [message for message in of(rig, 1) if None in message.data.values()]


async def test_a_busy_device_is_asked_again(two):
    """Exception 6 twice, then the answer: the consumers see nothing of it."""
    proxy, rig = await two(busy_retries=2, response_timeout="10s")
    busy = [2]

    def fault(unit, answer):
        if unit == 1 or not busy[0]:
            return answer
        busy[0] -= 1
        return answer[:5] + bytes([3, unit, answer[7] | 0x80, 6])

    proxy.fault = fault
    await more(rig, 2, 3)
    assert busy == [0]
    assert len(good(of(rig, 2))) == len(of(rig, 2))


async def test_a_device_that_closes_after_each_answer_is_polled(two):
    """It costs a connection each time, and no value."""
    proxy, rig = await two(response_timeout="10s")
    proxy.fault = lambda unit, answer: [answer, CLOSE]
    await more(rig, 1, 3)
    await more(rig, 2, 3)
    assert_no_wrong_value(rig)
    assert proxy.accepted >= 6
    assert len(good(rig.out)) == len(rig.out)


async def test_a_device_that_takes_one_connection_is_polled(two):
    """Further connections are closed by the device: a unit that fails is then asked on the one there is, and
    comes back by itself."""
    proxy, rig = await two()
    proxy.at_once = 1
    await more(rig, 2, 2)
    proxy.fault = lambda unit, answer: None if unit == 2 else answer
    await rig.until_true(lambda: of(rig, 2)[-1].data["r0"] is None)
    losses = len(rig.losses)
    await rig.until_true(lambda: len(rig.losses) >= losses + 2)
    await more(rig, 1, 5)
    proxy.fault = lambda unit, answer: answer
    await more(rig, 2, 3)
    assert_no_wrong_value(rig)
    assert not rig.gear.units["u1"].owner.can_probe


async def test_random_faults_for_a_while_leave_nothing_behind(two):
    """Any fault at any time on both units: never a wrong value, and in the end all is well, and nothing is
    left over of what was tried."""
    proxy, rig = await two(response_timeout="60ms")
    dice = random.Random(7)
    faults = [fault for name, fault in FATAL.items() if name not in ("half open", "late")]

    def fault(unit, answer):
        return dice.choice(faults)(answer) if dice.random() < 0.15 else answer

    proxy.fault = fault
    await rig.until_true(lambda: len(rig.losses) >= 30)
    proxy.fault = lambda unit, answer: answer
    await more(rig, 1, 5)
    await more(rig, 2, 5)
    assert_no_wrong_value(rig)
    await rig.until_true(lambda: proxy.open <= 2)
    assert len(asyncio.all_tasks()) < 20


async def test_two_gears_share_one_connection(two, poll):
    """One owner for each endpoint: a second gear that names it opens no connection of its own."""
    proxy, rig = await two(response_timeout="10s")
    await more(rig, 1, 2)
    other = await poll(proxy.own_port, {"r3": {"at": "holding/3"}}, every="20ms")
    await other.until(lambda message: message.data["r3"] == 1003)
    await more(rig, 1, 5)
    assert proxy.accepted == 1
    await other.stop()
    await more(rig, 1, 2)
    assert proxy.accepted == 1


async def test_a_backup_is_asked_when_the_first_is_gone(plant_of_two, poll):
    """The values come from the backup, and from the first again when the backup goes."""
    server, port = await start_server(1)
    await server.async_setValues(1, 3, 0, [42])
    backup = f"tcp://127.0.0.1:{port}"
    rig = await poll(plant_of_two.own_port, {"n": {"at": "holding/0"}}, backup=backup)
    await rig.until(lambda message: message.data["n"] == 1000)
    own_port = plant_of_two.own_port
    await plant_of_two.stop()
    await rig.until(lambda message: message.data["n"] == 42)
    plant_of_two._server = await asyncio.start_server(plant_of_two._serve, "127.0.0.1", own_port)
    await server.shutdown()
    seen = len(rig.out)
    await rig.until_true(lambda: any(message.data["n"] == 1000 for message in rig.out[seen:]))


async def test_the_first_endpoint_is_used_again_once_it_answers(plant_of_two, poll):
    """It is asked now and then while the backup answers, which goes on meanwhile; `connected` is no news."""
    server, port = await start_server(1)
    await server.async_setValues(1, 3, 0, [42])
    settings = {"backup": f"tcp://127.0.0.1:{port}", "backup_return": "100ms"}
    rig = await poll(plant_of_two.own_port, {"n": {"at": "holding/0"}}, **settings)
    await rig.until(lambda message: message.data["n"] == 1000)
    own_port = plant_of_two.own_port
    await plant_of_two.stop()
    await rig.until(lambda message: message.data["n"] == 42)
    seen, losses = len(rig.out), len(rig.losses)
    plant_of_two._server = await asyncio.start_server(plant_of_two._serve, "127.0.0.1", own_port)
    await rig.until_true(lambda: any(message.data["n"] == 1000 for message in rig.out[seen:]))
    assert not [message for message in rig.out[seen:] if message.data["n"] is None]
    assert len(rig.losses) == losses
    assert rig.events == ["connected", "disconnected", "connected"]
    await server.shutdown()
    await rig.stop()
    await rig.until_true(lambda: "_return_to_first" not in repr(asyncio.all_tasks()))
