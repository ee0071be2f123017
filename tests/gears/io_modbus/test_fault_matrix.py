"""The faults of `test_fault_proxy`, and those of datagrams, over TLS and UDP: all at once, each with a gear
and a proxy of its own. What they cost the other units in time is measured there, over TCP."""

import asyncio
import random

import pytest

from fluxrig.modbus.quality import EXCEPTIONS, ILLEGAL
from tests.gears.io_modbus.peers import (
    DatagramProxy,
    FaultProxy,
    certificates,
    server_context,
    start_server,
)
from tests.gears.io_modbus.test_fault_proxy import (
    ADDRESSES,
    FATAL,
    HARMLESS,
    TIMEOUT_S,
    assert_no_wrong_value,
    good,
    more,
    of,
)

STREAM_ONLY = {"half open", "closed", "two answers"}


def reordered():
    """Each answer comes after the next one."""
    held = [None]

    def fault(answer):
        held[0], before = answer, held[0]
        return before

    return fault


OF_DATAGRAMS = {
    "lost": lambda answer: None,
    "reordered": reordered(),
    "empty": lambda answer: b"",
    "two in one": lambda answer: answer + answer,
    "cut in two": lambda answer: [answer[:7], answer[7:]],
}
HARMLESS_DATAGRAMS = {
    "twice": lambda answer: [answer, answer],
    "foreign": lambda answer: [DatagramProxy.Foreign(answer[:-2] + b"\xde\xad"), answer],
}
FAULTS = {
    "tls": FATAL,
    "udp": {name: fault for name, fault in FATAL.items() if name not in STREAM_ONLY} | OF_DATAGRAMS,
}
CLUMSY = {"tls": HARMLESS, "udp": HARMLESS_DATAGRAMS}


@pytest.fixture(params=["tls", "udp"])
async def maker(request, poll, tmp_path, monkeypatch):
    """Make gears that poll units 1 and 2 of one server, each through a proxy of its own."""
    monkeypatch.setattr("gears.io_modbus.unit.LONGEST_WAIT_S", 0.1)
    # A busy machine may make a second connection look as if it were of no use.
    monkeypatch.setattr("gears.io_modbus.unit.LONGEST_SHARING_S", 0.2)
    transport, peers = request.param, []
    settings = {}
    if transport == "tls":
        certificate, key = certificates(tmp_path)
        settings["tls"] = {"ca": str(certificate)}
        context = server_context(certificate, key)
    tags = {f"r{n}": {"at": f"holding/{n}"} for n in ADDRESSES}
    settings["devices"] = {f"u{unit}": {"unit": unit, "tags": tags} for unit in (1, 2)}

    async def make(**more):
        server, port = await start_server(1, 2)
        for unit in (1, 2):
            await server.async_setValues(unit, 3, 0, [1000 * unit + n for n in range(200)])
        proxy = DatagramProxy(port) if transport == "udp" else FaultProxy(port)
        await (proxy.start() if transport == "udp" else proxy.start(context))
        peers.append((proxy, server))
        endpoint = f"{transport}://127.0.0.1:{proxy.own_port}"
        terms = {"every": "200ms", "max_hole": 10, "response_timeout": f"{TIMEOUT_S * 1000:g}ms"}
        return proxy, await poll(0, {}, **{**terms, "endpoint": endpoint, **settings, **more})

    make.transport = transport
    yield make
    for proxy, server in peers:
        await proxy.stop()
        await server.shutdown()


async def test_no_fault_makes_a_wrong_value(maker):
    """Whatever is done to the answers of unit 2, none of them becomes a wrong value; unit 1 is read
    meanwhile, and unit 2 again by itself afterwards."""

    async def suffer(fault):
        proxy, rig = await maker()
        await more(rig, 2, 1)
        proxy.fault = lambda unit, answer: fault(answer) if unit == 2 else answer
        await rig.until_true(lambda: of(rig, 2)[-1].data["r0"] is None)
        begin, losses = len(rig.out), len(rig.losses)
        await rig.until_true(lambda: len(rig.losses) > losses)
        await more(rig, 1, 3)
        assert not good(message for message in rig.out[begin:] if message.uns.endswith("u2"))
        proxy.fault = lambda unit, answer: answer
        await more(rig, 2, 2)
        assert_no_wrong_value(rig)

    await asyncio.gather(*map(suffer, FAULTS[maker.transport].values()))


async def test_clumsy_answers_are_as_good_as_any(maker):
    """In pieces, slowly, twice, or with another's datagrams between them: nothing is lost or wrong."""

    async def suffer(fault):
        proxy, rig = await maker(response_timeout="10s")
        proxy.fault = lambda unit, answer: fault(answer) if unit == 2 else answer
        await more(rig, 1, 3)
        await more(rig, 2, 3)
        assert_no_wrong_value(rig)
        assert not rig.losses

    await asyncio.gather(*map(suffer, CLUMSY[maker.transport].values()))


async def test_every_exception_is_told_by_its_name(maker):
    """The unit's tags say why, the other unit's are good meanwhile; those that say nothing of the request
    itself are over as soon as the device is well."""
    lasting = await maker(response_timeout="10s", busy_retries=0)
    for code in (*EXCEPTIONS, 9, 99):
        proxy, rig = await maker(response_timeout="10s", busy_retries=0) if code in ILLEGAL else lasting
        proxy.fault = lambda unit, answer, code=code: (
            answer[:5] + bytes([3, unit, answer[7] | 0x80, code]) if unit == 2 else answer
        )
        reason = f"bad:{EXCEPTIONS.get(code, f'exception_{code}')}"
        await rig.until_true(
            lambda rig=rig, reason=reason: of(rig, 2) and of(rig, 2)[-1].meta.get("quality.r0") == reason
        )
        proxy.fault = lambda unit, answer: answer
        if code not in ILLEGAL:
            await more(rig, 2, 1)
        assert_no_wrong_value(rig)
        assert not [message for message in of(rig, 1) if None in message.data.values()]


async def test_random_faults_leave_nothing_wrong(maker):
    """Any of them at any time, on both units: never a wrong value, and in the end all is well."""
    proxy, rig = await maker(response_timeout="60ms", every="20ms")
    dice = random.Random(5)
    faults = [fault for name, fault in FAULTS[maker.transport].items() if name not in ("half open", "late")]
    proxy.fault = lambda unit, answer: dice.choice(faults)(answer) if dice.random() < 0.2 else answer
    await rig.until_true(lambda: len(rig.losses) >= 15)
    proxy.fault = lambda unit, answer: answer
    await more(rig, 1, 3)
    await more(rig, 2, 3)
    assert_no_wrong_value(rig)
