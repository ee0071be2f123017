"""What is made of exchanges: changes of values, links, assets, and what is new against a baseline."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.codec import decode, encode
from fluxrig.testing import Workbench, context
from gears.network_sniffer.config import Config
from gears.network_sniffer.devices import Device, Named
from gears.network_sniffer.exchange import Gist
from gears.network_sniffer.gear import NetworkSniffer
from gears.network_sniffer.link import MAX_RANGES, joined
from gears.network_sniffer.modbus.traits import TCP
from gears.network_sniffer.observer import Scope
from gears.network_sniffer.sniffer import Settings
from gears.network_sniffer.values import Values

S = 1_000_000_000


def of(messages, kind):
    return [message.data for message in messages if message.schema == f"ot.{kind}/1"]


def ask(wire, tape, tid, request, response, unit=1):  # noqa: PLR0917
    tape.send(0, wire.adu(tid, request, unit))
    tape.send(1, wire.adu(tid, response, unit))


def read(wire, tape, tid, address, values, unit=1):  # noqa: PLR0917
    response = struct.pack(f">BB{len(values)}H", 3, 2 * len(values), *values)
    ask(wire, tape, tid, struct.pack(">BHH", 3, address, len(values)), response, unit)


def write(wire, tape, tid, address, value):
    pdu = struct.pack(">BHH", 6, address, value)
    ask(wire, tape, tid, pdu, pdu)


def later(packets, ns):
    return [packet._replace(ts=packet.ts + ns) for packet in packets]


def test_changes(wire):
    """A register that changes is told with what it was, once, whether it was read or written."""
    tape = wire.Tape()
    read(wire, tape, 1, 10, [5, 6, 7])
    read(wire, tape, 2, 10, [5, 6, 7])
    read(wire, tape, 3, 11, [9])
    write(wire, tape, 4, 12, 70)
    read(wire, tape, 5, 10, [5, 9, 70])
    messages = wire.sniff(tape.packets)
    seen = [(v["address"], v["old"], v["new"], v["cause"]) for v in of(messages, "value")]
    assert seen == [(11, 6, 9, "read"), (12, 7, 70, "write")]
    value = of(messages, "value")[1]
    assert value["server"] == {"ip": "10.0.0.2", "port": 502}
    assert (value["unit"], value["table"], value["client"]) == (1, "holding", {"ip": "10.0.0.1"})
    made = {message.id: message for message in messages}
    refs = [made[message.ref].data["tid"] for message in messages if message.schema == "ot.value/1"]
    assert refs == [3, 4]


def test_mask_write(wire):
    """A mask write changes the register as the specification's example says."""
    tape = wire.Tape()
    read(wire, tape, 1, 4, [0x12])
    pdu = struct.pack(">BHHH", 22, 4, 0xF2, 0x25)
    ask(wire, tape, 2, pdu, pdu)
    assert [(v["old"], v["new"]) for v in of(wire.sniff(tape.packets), "value")] == [(0x12, 0x17)]


def test_units_and_refusals(wire):
    """Units have tables of their own, and what was refused changes nothing."""
    tape = wire.Tape()
    read(wire, tape, 1, 0, [1], unit=1)
    read(wire, tape, 2, 0, [2], unit=2)
    ask(wire, tape, 3, struct.pack(">BHH", 6, 0, 9), b"\x86\x02")
    assert of(wire.sniff(tape.packets), "value") == []


@given(st.lists(st.tuples(st.integers(0, 12), st.lists(st.integers(0, 2), min_size=1, max_size=5))))
def test_changes_add_up(wire, reads):
    """Whatever is read, values tell each change of each register, and nothing else."""
    tape, known, wanted = wire.Tape(), {}, []
    for tid, (address, values) in enumerate(reads):
        read(wire, tape, tid, address, values)
        for at, value in enumerate(values, address):
            if known.get(at, value) != value:
                wanted.append((at, known[at], value))
            known[at] = value
    found = of(wire.sniff(tape.packets), "value")
    assert [(one["address"], one["old"], one["new"]) for one in found] == wanted


def test_values_are_bounded(wire):
    """However many registers there are, a bounded number is remembered."""
    messages, tape = [], wire.Tape()
    for n in range(300):
        read(wire, tape, n, 0, [n] * 100, unit=n % 200)
    values = Values(5000, {})
    for message in wire.sniff(tape.packets):
        if message.schema == "ot.transaction/1":
            flow = type("Flow", (), {"server_key": "a", "server": ("a", 502), "traits": TCP})
            messages += values.changes(flow, Gist(message.data))
            assert values.held <= 5000
            assert values.held == sum(image.held for image in values._images.values())


PRESS = {
    "endpoint": "tcp://10.0.0.2:502",
    "tags": {
        "pressure": {"at": "holding/10", "type": "float32", "order": "CDAB", "unit": "bar"},
        "level": {"at": "holding/12", "type": "int16", "scale": 0.1},
    },
}


async def test_named_values(wire, tmp_path):
    """Registers with a tag become engineering values on the UNS path of the device, first sight included."""
    low, high = struct.unpack(">HH", struct.pack(">f", 4.25))[::-1]
    tape = wire.Tape()
    read(wire, tape, 1, 10, [low, high, 0xFFF6, 1])
    read(wire, tape, 2, 10, [low, high, 20, 2])
    read(wire, tape, 3, 11, [0])
    path = tmp_path / "a.pcap"
    path.write_bytes(wire.pcap_bytes(tape.packets))
    workbench = Workbench()
    gear = NetworkSniffer(Config(file=path, devices={"press": PRESS}), context("tap"))
    await gear.open()
    await gear.run(workbench.emit)
    values = [message for message in workbench.out if message.schema == "ot.value/1"]
    named = [message for message in values if "name" in message.data]
    assert [(m.data["name"], m.data.get("old"), m.data["new"]) for m in named] == [
        ("pressure", None, 4.25),
        ("level", None, -1.0),
        ("level", -1.0, 2.0),
    ]
    assert {message.uns for message in named} == {"acme/lyon/press"}
    assert named[0].meta == {"unit.pressure": "bar"}
    assert decode(encode(named[0])) == named[0]
    tags = [message for message in workbench.out if message.schema == "fluxrig.tags/1"]
    assert [(message.uns, message.data, message.meta) for message in tags] == [
        ("acme/lyon/press", {"pressure": 4.25, "level": -1.0}, {"unit.pressure": "bar"}),
        ("acme/lyon/press", {"level": 2.0}, {}),
    ]
    assert [message.ref for message in tags] == [named[0].ref, named[2].ref]
    assert tags[0].ts == named[0].ts
    raw = [message for message in values if "name" not in message.data]
    assert [(m.data["address"], m.data["old"], m.data["new"]) for m in raw] == [(13, 1, 2)]
    assert raw[0].uns == "acme/lyon/tap"


def test_halves_make_no_value(wire):
    """A tag of two registers that are read apart has no value: the halves may be of different times."""
    tag = Config(file="a", devices={"press": PRESS}).devices["press"].tags["pressure"].to_tag("pressure")
    place = ("10.0.0.2", 502, 1)
    scope = Scope(devices={place: Device("acme/press", {"holding": [Named(tag, "bar")]})})
    tape = wire.Tape()
    for n in range(4):
        read(wire, tape, 2 * n, 10, [n])
        read(wire, tape, 2 * n + 1, 11, [n])
    assert of(wire.sniff(tape.packets, scope=scope), "value") == []


def test_link(wire):
    """A link tells functions, ranges, the period and the jitter of its polls, and the rate of errors."""
    tape = wire.Tape()
    for n in range(40):
        read(wire, tape, n, 100, [1, 2])
    ask(wire, tape, 90, b"\x03\xff\xff\x00\x02", b"\x83\x02")
    write(wire, tape, 91, 102, 7)
    (link,) = of(wire.sniff(tape.packets), "link")[-1:]
    assert link["client"] == {"ip": "10.0.0.1"}
    assert link["server"] == {"ip": "10.0.0.2", "port": 502}
    assert link["protocol"] == "modbus/tcp"
    assert (link["exchanges"], link["functions"]) == (42, {"3": 41, "6": 1})
    assert link["statuses"] == {"exception": 1, "ok": 41}
    assert link["error_rate"] == round(1 / 42, 6)
    assert (link["period_us"], link["jitter_us"]) == (2 * wire.STEP_NS // 1000, 0)
    assert link["polls"][0].items() >= {"unit": 1, "fc": 3, "address": 100, "count": 40}.items()
    assert link["ranges"] == [
        {"unit": 1, "table": "holding", "access": "read", "address": 100, "quantity": 2},
        {"unit": 1, "table": "holding", "access": "write", "address": 102, "quantity": 1},
    ]


def test_jitter(wire):
    """The jitter is the deviation of the intervals between requests."""
    tape = wire.Tape()
    for n in range(101):
        read(wire, tape, n, 0, [1])
    packets = [
        packet._replace(ts=wire.START_NS + n // 2 * 10_000_000 + (n // 2 % 2) * 1_000_000 + n % 2)
        for n, packet in enumerate(tape.packets)
    ]
    (link,) = of(wire.sniff(packets), "link")[-1:]
    assert link["period_us"] == 10_000
    assert link["jitter_us"] == 1000


@given(st.lists(st.tuples(st.integers(0, 65_000), st.integers(1, 200)), max_size=200))
def test_ranges_hold_all(reads):
    """Ranges are in order, apart, bounded in number, and hold everything that was asked for."""
    ranges = joined([(start, start + size) for start, size in reads])
    assert len(ranges) <= MAX_RANGES
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    for start, size in reads:
        assert any(low <= start and start + size <= high for low, high in ranges)


def test_assets(wire):
    """Client and server are assets: addresses, roles, protocols, units, identity, each with evidence."""
    tape = wire.Tape()
    tape.connect()
    read(wire, tape, 1, 0, [1], unit=3)
    identity = b"\x2b\x0e\x01\x01\x00\x00\x03\x00\x04Acme\x01\x03PLC\x02\x04v1.2"
    ask(wire, tape, 2, b"\x2b\x0e\x01\x00", identity, unit=3)
    messages = wire.sniff(tape.packets)
    assets = {asset["addresses"]["ip"]: asset for asset in of(messages, "asset")}
    client, server = assets["10.0.0.1"], assets["10.0.0.2"]
    assert (client["roles"], client["protocols"]) == (["client"], ["modbus/tcp"])
    assert (server["roles"], server["protocols"]) == (["server"], ["modbus/tcp:502"])
    assert server["units"] == [3]
    assert (server["vendor"], server["model"], server["firmware"]) == ("Acme", "PLC", "v1.2")
    assert server["addresses"]["mac"] == ["00:00:00:00:00:00"]
    for field in ("roles.server", "units.3", "vendor", "firmware", "macs.00:00:00:00:00:00"):
        proof = server["evidence"][field]
        assert 1 <= proof["frame"] <= len(tape.packets)
        assert proof["ts"] == tape.packets[proof["frame"] - 1].ts
    assert server["evidence"]["vendor"]["frame"] == 7


def test_assets_without_other_traffic(wire):
    """What takes no part in OT traffic is no asset."""
    tape = wire.Tape(server=("10.0.0.2", 80))
    tape.send(0, b"GET / HTTP/1.1\r\n\r\n")
    messages = wire.sniff(tape.packets)
    assert not of(messages, "asset")
    assert not of(messages, "link")


def usual_then(wire, tape_later):
    """Give the anomalies of ten minutes of usual reads, followed by what another tape has."""
    tape = wire.Tape()
    for n in range(10):
        read(wire, tape, n, 0, [1])
    tape.packets = [packet._replace(ts=wire.START_NS + n * 60 * S) for n, packet in enumerate(tape.packets)]
    packets = tape.packets + later(tape_later.packets, 3600 * S)
    return wire.anomalies(wire.sniff(packets, scope=Scope(learn_ns=1200 * S)))


def test_nothing_new(wire):
    """What was learned is no anomaly later."""
    again = wire.Tape(seqs=[10_000_000, 90_000_000], client=("10.0.0.1", 40_001))
    again.connect()
    read(wire, again, 1, 5, [1])
    assert usual_then(wire, again) == []


def test_new_client_writer_function(wire):
    """After learning, a new client, a new writer and a new function are told once each."""
    tape = wire.Tape(client=("10.0.0.66", 40_000))
    tape.connect()
    for n in range(20):
        read(wire, tape, n, 0, [1])
        write(wire, tape, 100 + n, 3, n)
    found = usual_then(wire, tape)
    assert [data["code"] for data in found] == ["new_client", "new_function", "new_writer", "new_function"]
    assert {data["flow"]["client"]["ip"] for data in found} == {"10.0.0.66"}
    assert found[2]["severity"] == "high"


@pytest.mark.parametrize("hours", [0, 1])
def test_scan(wire, hours):
    """A scan of function codes is told, while learning and after; the messages of it do not grow with it."""
    tape = wire.Tape()
    for fc in range(1, 100):
        ask(wire, tape, fc, bytes([fc, 0, 0, 0, 1]), bytes([fc | 0x80, 1]))
    scope = Scope(learn_ns=1 if hours else 3600 * S)
    found = wire.anomalies(wire.sniff(tape.packets, scope=scope))
    scans = [data for data in found if data["code"] == "function_scan"]
    assert [data["count"] for data in scans] == [*range(1, 9), 10]
    assert len(scans[0]["functions"]) == 5


@pytest.mark.parametrize("code", ["address_scan", "unit_scan"])
def test_scans_of_addresses_and_units(wire, code):
    """Many addresses that are refused, or units that nobody reaches, are a scan: once, not each time."""
    tape, units = wire.Tape(), code == "unit_scan"
    for again in range(3):
        for n in range(20):
            request = struct.pack(">BHH", 3, 0 if units else 100 * n, 1)
            ask(wire, tape, 20 * again + n, request, b"\x83\x0b" if units else b"\x83\x02", n if units else 1)
    found = [data for data in wire.anomalies(wire.sniff(tape.packets)) if data["code"].endswith("_scan")]
    assert [(data["code"], data["severity"], data["count"]) for data in found] == [
        (code, "high", count + 1) for count in range(len(found))
    ]
    assert found[0]["units" if units else "addresses"] == [*range(8)] if units else [*range(0, 1600, 100)]
    assert len(found) == (2 if units else 1)


def test_silent_units(wire):
    """Units that never answer are told as a scan as well; one that is polled in vain is none."""
    tape = wire.Tape()
    for n in range(10):
        tape.send(0, wire.read_request(n, 0, 1, unit=n))
        tape.send(0, wire.read_request(100 + n, 0, 1, unit=99))
    tape.connect()
    tape.packets = later(tape.packets[:-3], 0) + later(tape.packets[-3:], 60 * S)
    found = wire.anomalies(wire.sniff(tape.packets))
    assert [data["code"] for data in found] == ["unit_scan"]


def test_usual_refusals_are_no_scan(wire):
    """A client that asks for the same function again and again, refused each time, does not scan."""
    tape = wire.Tape()
    for n in range(50):
        ask(wire, tape, n, b"\x03\x00\x00\x00\x01", b"\x83\x01")
    assert wire.anomalies(wire.sniff(tape.packets)) == []


def test_emit_chooses(wire):
    """What is emitted is chosen by kind; ids and the rest are the same whatever is left out."""
    packets = wire.plant_tape(30, tids=3).packets
    everything = {message.id: message for message in wire.sniff(packets)}
    few = wire.sniff(packets, schemas=frozenset({"ot.transaction/1", "ot.link/1"}))
    assert {message.schema for message in few} == {"ot.transaction/1", "ot.link/1"}
    assert all(everything[message.id] == message for message in few)
    assert len(few) == sum(
        message.schema in {"ot.transaction/1", "ot.link/1"} for message in everything.values()
    )


def test_inventory_is_bounded(wire):
    """However many addresses take part, a bounded number is remembered; none is untold."""
    packets = []
    for n in range(200):
        tape = wire.Tape(client=(f"10.1.0.{n + 1}", 1000))
        tape.exchange(n)
        packets += later(tape.packets, n * wire.STEP_NS)
    messages = wire.sniff(packets, scope=Scope(assets=16))
    assert {asset["addresses"]["ip"] for asset in of(messages, "asset")} == {
        "10.0.0.2",
        *(f"10.1.0.{n + 1}" for n in range(200)),
    }
    assert wire.counters(messages)["evicted"] > 0


def test_settings_are_whole():
    """The defaults of a configuration and of the sniffer beneath it are the same."""
    from gears.network_sniffer.setup import settings_of

    assert settings_of(Config(file="a.pcap"), "acme/tap") == Settings()
