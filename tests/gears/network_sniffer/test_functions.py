"""Every public function code is decoded, and what is not as specified gives no values."""

import pytest

from fluxrig.codec import Carried, encode
from gears.network_sniffer.change import Change
from gears.network_sniffer.modbus import conversation
from gears.network_sniffer.modbus.pdu import NAMES, decode_request, decode_response, is_request, is_response
from gears.network_sniffer.modbus.rtu import crc16

h = bytes.fromhex

CASES = {
    7: ("07", {}, "07 6d", {"read": {"exception_status": 0x6D}}),
    8: (
        "08 0000 a537",
        {"diagnostics": {"sub_function": 0, "name": "return_query_data", "data": h("a537")}},
        "08 0000 a537",
        {"read": {"sub_function": 0, "data": h("a537")}},
    ),
    11: ("0b", {}, "0b ffff 0108", {"read": {"status": 0xFFFF, "event_count": 0x108}}),
    12: (
        "0c",
        {},
        "0c 08 0000 0108 0121 2000",
        {"read": {"status": 0, "event_count": 0x108, "message_count": 0x121, "events": h("2000")}},
    ),
    17: ("11", {}, "11 03 09 ff 41", {"read": {"server_id": h("09ff41")}}),
    20: (
        "14 0e 06 0004 0001 0002 06 0003 0009 0002",
        {
            "target": {
                "unit": 1,
                "table": "file",
                "records": [
                    {"file": 4, "address": 1, "quantity": 2},
                    {"file": 3, "address": 9, "quantity": 2},
                ],
            }
        },
        "14 0c 05 06 0dfe 0020 05 06 33cd 0040",
        {
            "read": {
                "records": [
                    {"file": 4, "address": 1, "values": [0x0DFE, 0x20]},
                    {"file": 3, "address": 9, "values": [0x33CD, 0x40]},
                ]
            }
        },
    ),
    21: (
        "15 0d 06 0004 0007 0003 06af 04be 100d",
        {"write": {"records": [{"file": 4, "address": 7, "values": [0x06AF, 0x04BE, 0x100D]}]}},
        "15 0d 06 0004 0007 0003 06af 04be 100d",
        {},
    ),
    22: (
        "16 0004 00f2 0025",
        {"write": {"and_mask": 0xF2, "or_mask": 0x25}},
        "16 0004 00f2 0025",
        {},
    ),
    24: (
        "18 04de",
        {"target": {"unit": 1, "table": "fifo", "address": 0x4DE}},
        "18 0006 0002 01b8 1284",
        {"read": {"values": [0x1B8, 0x1284]}},
    ),
    43: (
        "2b 0d 0011 22",
        {"encapsulated": {"mei": 13, "data": h("001122")}},
        "2b 0d 33",
        {"read": {"mei": 13, "data": h("33")}},
    ),
}
"""Function: request, what it says, response, what that says: the specification's examples where there are."""


@pytest.mark.parametrize("fc", CASES)
def test_decoded(fc):
    """The specification's own example says what the specification says of it."""
    asked, said, answered, told = CASES[fc]
    fields, fits = decode_request(1, h(asked))
    assert fits
    assert {"target": {"unit": 1}, **fields}.items() >= said.items()
    fields, fits = decode_response(1, h(answered), h(asked))
    assert fits
    assert fields == told
    assert is_request(h(asked))
    assert is_response(h(answered))


@pytest.mark.parametrize("fc", CASES)
def test_cut_or_longer(fc):
    """A PDU that is a byte short or long never passes for whole, unless its length is its own affair."""
    asked, _, answered, _ = (h(part) if isinstance(part, str) else part for part in CASES[fc])
    free = fc == 43
    for change in (lambda pdu: pdu[:-1], lambda pdu: pdu + b"\0"):
        if change(asked) and not free:
            assert not decode_request(1, change(asked))[1]
        if not free and not (fc == 12 and len(change(answered)) == 1 + answered[1] + 1):
            assert not decode_response(1, change(answered), None)[1]


def test_all_public(wire):
    """Each public function is told with its name, values beside addresses, without raw bytes."""
    for fc, (asked, _, answered, _) in CASES.items():
        tape = wire.Tape()
        tape.send(0, wire.adu(1, h(asked)))
        tape.send(1, wire.adu(1, h(answered)))
        (found,) = wire.transactions(wire.sniff(tape.packets))
        assert found["status"] == "ok"
        assert found["op"] == {"fc": fc, "name": NAMES[fc]}
        assert "pdu" not in found["request"]


def test_vendor_function_off_port(wire):
    """A vendor's function on another port is known by its echo: nothing of the exchange is lost."""
    tape = wire.Tape(server=("10.0.0.2", 5020))
    tape.send(0, wire.adu(7, h("5a 0102")))
    tape.send(1, wire.adu(7, h("5a fe 0304")))
    (found,) = wire.transactions(wire.sniff(tape.packets))
    assert (found["op"], found["status"]) == ({"fc": 90}, "ok")
    assert found["request"]["pdu"] == h("5a 0102")
    assert found["flow"]["server"]["port"] == 5020


@pytest.mark.parametrize("fc", [*CASES, 3])
def test_quick_way_tells_the_same(wire, fc, monkeypatch):
    """What is encoded around a template is byte for byte what is encoded from its fields."""
    asked, _, answered, _ = CASES.get(fc, ("03 0010 0002", {}, "03 04 0001 ffff", {}))
    tape = wire.Tape()
    tape.exchange(1, 16, 2)
    tape.send(0, wire.adu(4464, h("06 0010 0102")))
    tape.send(1, wire.adu(4464, h("06 0010 0102")))
    for tid in (2, 300, 65_535):
        tape.send(0, wire.adu(tid, h(asked)))
        tape.send(1, wire.adu(tid, h(answered)))
    tape.send(0, wire.adu(9, h("01 0000 0008")))
    tape.send(1, wire.adu(9, h("81 02")))
    quick = wire.sniff(tape.packets)
    monkeypatch.setattr(conversation, "repeated", lambda *_: None)
    monkeypatch.setattr(Change, "encode", lambda *_: None)
    slow = wire.sniff(tape.packets)
    assert sum(type(message) is Carried for message in quick) >= 5
    assert not any(type(message) is Carried for message in slow)
    assert [encode(message) for message in quick] == [encode(message) for message in slow]


IDENTIFIED = "2b 0e 01 01 00 00 02 00 04 41636d65 01 03 504c43"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 300])
def test_split_over_rtu(wire, size):
    """Frames of RTU of every function are found however they are split: their length follows from them."""
    cases = CASES | {3: ("03 0010 0001", {}, "03 02 1234", {}), 43: ("2b 0e 01 00", {}, IDENTIFIED, {})}
    tape = wire.Tape(server=("10.0.0.2", 4001))
    for part, side in ((cases[3][0], 0), (cases[3][2], 1)):
        tape.send(side, rtu(h(part)))
    for asked, _, answered, _ in cases.values():
        for pdu, side in ((asked, 0), (answered, 1)):
            frame = rtu(h(pdu))
            for at in range(0, len(frame), size):
                tape.send(side, frame[at : at + size])
    messages = wire.sniff(tape.packets)
    found = wire.transactions(messages)
    assert [one["op"]["fc"] for one in found] == [3, *cases]
    assert {one["status"] for one in found} == {"ok"}
    assert wire.anomalies(messages) == []


def rtu(pdu):
    frame = b"\x01" + pdu
    return frame + crc16(frame).to_bytes(2, "little")
