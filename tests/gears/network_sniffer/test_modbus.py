"""Modbus: framing, decoding and pairing of exchanges that the tests put on the wire."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.network_sniffer.modbus.pdu import decode_request, decode_response, is_request, is_response


def exchange(wire, request, response, tid=9, unit=3):
    tape = wire.Tape()
    tape.connect()
    tape.send(0, wire.adu(tid, request, unit))
    tape.send(1, wire.adu(tid, response, unit))
    (data,) = wire.transactions(wire.sniff(tape.packets))
    return data


def h(text):
    return bytes.fromhex(text)


@pytest.mark.parametrize(
    ("request_pdu", "response_pdu", "expected"),
    [
        (
            "01 0013 000a",
            "01 02 cd 01",
            {
                "target": {"unit": 3, "table": "coil", "address": 19, "quantity": 10},
                "read": {"values": [True, False, True, True, False, False, True, True, True, False]},
            },
        ),
        (
            "02 00c4 0003",
            "02 01 05",
            {
                "target": {"unit": 3, "table": "discrete", "address": 196, "quantity": 3},
                "read": {"values": [True, False, True]},
            },
        ),
        (
            "03 006b 0002",
            "03 04 022b ffff",
            {
                "target": {"unit": 3, "table": "holding", "address": 107, "quantity": 2},
                "read": {"values": [555, 65_535]},
            },
        ),
        (
            "04 0008 0001",
            "04 02 000a",
            {
                "target": {"unit": 3, "table": "input", "address": 8, "quantity": 1},
                "read": {"values": [10]},
            },
        ),
        (
            "05 00ac ff00",
            "05 00ac ff00",
            {
                "target": {"unit": 3, "table": "coil", "address": 172, "quantity": 1},
                "write": {"values": [True]},
            },
        ),
        (
            "06 0001 0003",
            "06 0001 0003",
            {
                "target": {"unit": 3, "table": "holding", "address": 1, "quantity": 1},
                "write": {"values": [3]},
            },
        ),
        (
            "0f 0013 000a 02 cd01",
            "0f 0013 000a",
            {
                "target": {"unit": 3, "table": "coil", "address": 19, "quantity": 10},
                "write": {"values": [True, False, True, True, False, False, True, True, True, False]},
            },
        ),
        (
            "10 0001 0002 04 000a 0102",
            "10 0001 0002",
            {
                "target": {"unit": 3, "table": "holding", "address": 1, "quantity": 2},
                "write": {"values": [10, 258]},
            },
        ),
        (
            "16 0004 00f2 0025",
            "16 0004 00f2 0025",
            {
                "target": {"unit": 3, "table": "holding", "address": 4, "quantity": 1},
                "write": {"and_mask": 0xF2, "or_mask": 0x25},
            },
        ),
        (
            "17 0003 0002 000e 0001 02 00ff",
            "17 04 00fe 0acd",
            {
                "target": {"unit": 3, "table": "holding", "address": 3, "quantity": 2},
                "read": {"values": [254, 2765]},
                "write": {"address": 14, "quantity": 1, "values": [255]},
            },
        ),
        (
            "2b 0e 01 00",
            "2b 0e 01 01 00 00 02 00 02 4142 01 01 43",
            {
                "target": {"unit": 3},
                "identification": {
                    "code": 1,
                    "conformity": 1,
                    "more_follows": 0,
                    "next_object": 0,
                    "objects": {"0": "AB", "1": "C"},
                },
            },
        ),
    ],
)
def test_functions(wire, request_pdu, response_pdu, expected):
    """Each function is decoded as the specification's examples say, the address beside the values."""
    data = exchange(wire, h(request_pdu), h(response_pdu))
    assert data["status"] == "ok"
    assert {name: data[name] for name in expected} == expected
    assert not {"read", "write", "identification"} & data.keys() - expected.keys()
    assert (data["tid"], data["op"]["fc"]) == (9, h(request_pdu)[0])
    assert data["flow"] == {
        "client": {"ip": "10.0.0.1", "port": 40_000},
        "server": {"ip": "10.0.0.2", "port": 502},
    }
    assert data["request"] == {
        "ts": wire.START_NS + 3 * wire.STEP_NS,
        "frame": 4,
        "length": len(h(request_pdu)) + 1,
    }
    assert data["latency_us"] == wire.STEP_NS // 1000


def test_exception(wire):
    """An exception is paired with the request that it refuses, and names the code."""
    data = exchange(wire, h("03 0001 0002"), h("83 02"))
    assert (data["status"], data["exception"]) == (
        "exception",
        {"code": 2, "name": "illegal_data_address"},
    )
    assert data["target"]["address"] == 1


def test_vendor_function(wire):
    """A function that nobody specified is carried raw, both ways."""
    data = exchange(wire, h("5a 0002"), h("5a 00fe 1234"))
    assert (data["status"], data["op"]) == ("ok", {"fc": 90})
    assert (data["request"]["pdu"], data["response"]["pdu"]) == (h("5a0002"), h("5a00fe1234"))


@pytest.mark.parametrize(
    "response_pdu",
    ["03 02 0001", "03 04 0001", "03 05 0001 0002 00", "03 00", "03", "06 0001 0002"],
)
def test_response_that_does_not_fit(wire, response_pdu):
    """A response that doesn't fit gives no values: nothing is made up."""
    tape = wire.Tape()
    tape.connect()
    tape.send(0, wire.adu(1, h("03 0001 0002")))
    tape.send(1, wire.adu(1, h(response_pdu)))
    for data in wire.transactions(wire.sniff(tape.packets)):
        assert data["status"] != "ok"
        assert "read" not in data


def test_pairing_on_all_ids(wire):
    """Many pending requests are answered in any order: the ids tell which is which."""
    tape = wire.Tape()
    tape.connect()
    asked = [(tid, unit) for tid in (5, 6) for unit in (1, 2)]
    for tid, unit in asked:
        tape.send(0, wire.read_request(tid, tid * 100 + unit, 2, unit))
    for tid, unit in reversed(asked):
        tape.send(1, wire.read_response(tid, tid * 100 + unit, 2, unit))
    found = wire.transactions(wire.sniff(tape.packets))
    assert len(found) == 4
    for data in found:
        assert data["target"]["address"] == data["tid"] * 100 + data["target"]["unit"]
        assert data["read"]["values"] == wire.values_at(data["target"]["address"], 2)
        assert "pairing" not in data


def test_first_in_first_out(wire):
    """Of several requests with the same ids, the first that the response fits is answered; that is told."""
    tape = wire.Tape()
    tape.connect()
    tape.send(0, wire.read_request(1, 100, 2) + wire.read_request(1, 200, 2) + wire.read_request(1, 300, 5))
    for address, quantity in [(300, 5), (100, 2), (200, 2)]:
        tape.send(1, wire.read_response(1, address, quantity))
    found = wire.transactions(wire.sniff(tape.packets))
    assert [data["target"]["address"] for data in found] == [300, 100, 200]
    assert [data.get("pairing") for data in found] == ["fifo"] * 3


def test_pairing_across_a_lost_request(wire):
    """A response that may answer a lost request with the same ids is not passed off as certain."""
    tape = wire.Tape()
    tape.connect()
    tape.send(0, wire.read_request(1, 100, 2))
    tape.lose(0, wire.read_request(1, 200, 2))
    tape.send(1, wire.read_response(1, 200, 2))
    (found,) = wire.transactions(wire.sniff(tape.packets))
    assert found["pairing"] == "gap"


def test_no_pairing_across_two_losses(wire):
    """When a response and the next request are lost, what comes next is not paired with the first request."""
    tape = wire.Tape()
    tape.connect()
    tape.send(0, wire.read_request(1, 100, 2))
    tape.lose(1, wire.read_response(1, 100, 2))
    tape.lose(0, wire.read_request(1, 200, 2))
    tape.send(1, wire.read_response(1, 200, 2))
    tape.frame(0, flags=wire.ACK)
    found = wire.transactions(wire.sniff(tape.packets))
    assert [data["status"] for data in found] == ["lost", "orphan_response"]


def test_response_before_request(wire):
    """A response is never paired with a later request."""
    tape = wire.Tape()
    tape.connect()
    tape.send(1, wire.read_response(1, 100, 2))
    tape.send(0, wire.read_request(1, 100, 2))
    found = wire.transactions(wire.sniff(tape.packets))
    assert [data["status"] for data in found] == ["orphan_response", "lost"]
    assert "request" not in found[0]
    assert "response" not in found[1]


def test_time_out(wire):
    """A request times out in the time of the capture; its late response is an orphan."""
    tape = wire.Tape()
    tape.connect()
    tape.send(0, wire.read_request(1, 100, 2))
    tape.send(1, wire.read_response(1, 100, 2))
    *first, last = tape.packets
    late = last._replace(ts=last.ts + 11_000_000_000)
    found = wire.transactions(wire.sniff([*first, late]))
    assert [data["status"] for data in found] == ["timeout", "orphan_response"]
    assert found[0]["reason"] == "no_response"


def test_one_wrong_time(wire):
    """A packet with a time of the far future does not stop the clock: what comes later times out as ever."""
    tape = wire.Tape()
    tape.exchange(1)
    tape.exchange(2)
    tape.packets[2] = tape.packets[2]._replace(ts=2**63 - 1)
    tape.send(0, wire.read_request(3, 0, 1))
    tape.exchange(4)
    tape.exchange(5)
    tape.packets[5:] = [packet._replace(ts=packet.ts + 11_000_000_000) for packet in tape.packets[5:]]
    found = {one["tid"]: one for one in wire.transactions(wire.sniff(tape.packets))}
    assert {tid: one["status"] for tid, one in found.items() if tid != 2} == {
        1: "ok", 3: "timeout", 4: "ok", 5: "ok"
    }  # fmt: skip
    assert found[3]["reason"] == "no_response"


def test_pending_is_bounded(wire):
    """The table of pending requests is bounded: the oldest is given up, and that is told."""
    tape = wire.Tape()
    tape.connect()
    for tid in range(50):
        tape.send(0, wire.read_request(tid, tid, 1))
    found = wire.transactions(wire.sniff(tape.packets, pending=10))
    assert [data["tid"] for data in found if data["reason"] == "table_full"] == list(range(40))
    assert [data["tid"] for data in found if data["reason"] == "capture_end"] == list(range(40, 50))


@pytest.mark.parametrize("flag", ["RST", "FIN"])
def test_closed(wire, flag):
    """When a connection ends, what waits on it is given up, and nothing of another connection."""
    tape, other = wire.Tape(), wire.Tape(client=("10.0.0.9", 1234))
    for one in (tape, other):
        one.connect()
        one.send(0, wire.read_request(1, 100, 2))
    for side in (0, 1):
        tape.frame(side, flags=getattr(wire, flag) | wire.ACK)
    other.send(1, wire.read_response(1, 100, 2))
    found = wire.transactions(wire.sniff(sorted(tape.packets + other.packets)))
    ends = [(data["flow"]["client"]["ip"], data["status"]) for data in found]
    assert sorted(ends) == [("10.0.0.1", "timeout"), ("10.0.0.9", "ok")]


@pytest.mark.parametrize("size", [1, 2, 5, 7, 8, 11, 100])
def test_split_anywhere(wire, size):
    """ADUs come out whole, whether a segment holds a byte of one or several of them."""
    whole = wire.plant_tape(10)
    split = wire.Tape()
    split.connect()
    asked = b"".join(wire.read_request(n, n, 3) for n in range(10))
    answered = b"".join(wire.read_response(n, n, 3) for n in range(10))
    for side, data in ((0, asked), (1, answered)):
        for at in range(0, len(data), size):
            split.send(side, data[at : at + size])
    found = wire.transactions(wire.sniff(split.packets))
    assert [data["read"]["values"] for data in found] == [wire.values_at(n, 3) for n in range(10)]
    assert len(wire.transactions(wire.sniff(whole.packets))) == 10


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("0001 0002 0006 01 03 0000 0001", "bad_protocol_id"),
        ("0001 0000 0001 01 03", "length_too_short"),
        ("0001 0000 ffff 01 03 0000 0001", "length_too_long"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_violation_never_silences(wire, bad, code, side):
    """A violation is reported, and the next segment is read as if nothing had happened."""
    tape = wire.plant_tape(3)
    tape.send(side, h(bad) + b"rest of the segment")
    tape.exchange(77, 5)
    messages = wire.sniff(tape.packets)
    found = wire.transactions(messages)
    assert [data["status"] for data in found] == ["ok"] * 4
    assert [data["code"] for data in wire.anomalies(messages)] == [code]


def test_gap(wire):
    """Lost bytes are reported; exchanges around them are whole, the torn one is truncated, never wrong."""
    tape = wire.plant_tape(3)
    tape.send(0, wire.read_request(50, 10, 4))
    response = wire.read_response(50, 10, 4)
    tape.send(1, response[:9])
    tape.lose(1, response[9:])
    tape.exchange(51, 20)
    tape.frame(0, flags=wire.ACK)
    messages = wire.sniff(tape.packets)
    found = wire.transactions(messages)
    assert [data["status"] for data in found] == ["ok", "ok", "ok", "truncated", "ok"]
    assert "read" not in found[3]
    assert wire.counters(messages)["lost_bytes"] == len(response) - 9


def test_snapped(wire):
    """A payload cut by the snap length gives truncated exchanges, never values."""
    packets = [packet._replace(data=packet.data[:64]) for packet in wire.plant_tape(5).packets]
    found = wire.transactions(wire.sniff(packets))
    assert found
    assert {data["status"] for data in found} == {"truncated"}
    assert not any("read" in data for data in found)


def test_any_port(wire):
    """Modbus is known by its shape on any port, whoever was seen first."""
    tape = wire.Tape(server=("10.0.0.2", 1502))
    for n in range(3):
        tape.exchange(n, 300)
    for packets in (tape.packets, tape.packets[1:]):
        found = wire.transactions(wire.sniff(packets))
        assert {data["flow"]["server"]["port"] for data in found} == {1502}
        assert sum(data["status"] == "ok" for data in found) == len(packets) // 2


def test_not_modbus(wire):
    """Other traffic on port 502 is not claimed: one anomaly, no exchange."""
    tape = wire.Tape()
    tape.connect()
    for _ in range(5):
        tape.send(0, b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n")
        tape.send(1, b"HTTP/1.1 200 OK\r\n\r\n")
    messages = wire.sniff(tape.packets)
    assert not wire.transactions(messages)
    assert [(data["code"], data["count"]) for data in wire.anomalies(messages)] == [
        ("not_modbus", 1),
        ("not_modbus", 10),
    ]


@given(st.binary(min_size=1, max_size=260), st.binary(min_size=1, max_size=260) | st.none())
def test_any_pdu(pdu, request_pdu):
    """No PDU whatever makes a decoder raise, and values never come from beyond its end."""
    decode_request(1, pdu)
    decode_response(1, pdu, request_pdu if request_pdu and request_pdu[0] == pdu[0] else None)
    is_request(pdu)
    is_response(pdu)


@given(st.integers(0, 65_535), st.lists(st.integers(0, 65_535), min_size=1, max_size=123))
def test_registers_written(address, values):
    """Registers are decoded as they were encoded, whatever they hold."""
    pdu = struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)
    fields, fits = decode_request(1, pdu)
    assert fits
    assert (fields["target"]["address"], fields["write"]["values"]) == (address, values)
