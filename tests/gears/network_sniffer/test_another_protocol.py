"""A protocol that is added beside Modbus, as ARCHITECTURE.md says, and nothing else is touched.

It is a toy: the client sends `read 7` or `write 7 42`, the server answers `7 = 42`, each on its own line.
"""

import re

import pytest

from gears.network_sniffer import protocols
from gears.network_sniffer.flow import Traits

TRAITS = Traits("toy", writes=frozenset({2}), tables=frozenset({"point"}))
ASKS = re.compile(rb"(read|write) (\d+)(?: (\d+))?\n")
ANSWERS = re.compile(rb"(\d+) = (\d+)\n")


class Ear:
    """One side of a connection."""

    def __init__(self, side, toy):
        self.side, self.toy = side, toy

    def data(self, payload, frame, ts):
        for line in payload.splitlines(keepends=True):
            self.toy.line(self.side, line, {"ts": ts, "frame": frame, "length": len(line)})

    def gap(self, lost, *, cut):
        self.toy.asked.clear()

    def late(self, payload, frame, ts, position):
        pass

    def boundary(self):
        pass


class Toy:
    """One connection: requests are answered in turn."""

    def __init__(self, connection, observer, outstanding):
        self.sinks = Ear(0, self), Ear(1, self)
        self.claimed = False
        self.asked = []
        self._ends, self._observer = connection.ends, observer

    def line(self, side, line, seen):
        if asked := ASKS.fullmatch(line):
            if not self.claimed:
                self.claimed = True
                ends = self._ends[side], self._ends[1 - side]
                self._flow = self._observer.flow(*ends, TRAITS, seen["ts"])
            self.asked.append((asked, seen))
        elif self.asked and (answer := ANSWERS.fullmatch(line)):
            self.tell(*self.asked.pop(0), int(answer[2]), seen)

    def tell(self, asked, request, value, response):
        writes = asked[1] == b"write"
        data = {
            "op": {"fc": 2 if writes else 1},
            "target": {"unit": 0, "table": "point", "address": int(asked[2]), "quantity": 1},
            "write" if writes else "read": {"values": [value]},
            "flow": self._flow.data,
            "request": request,
            "response": response,
            "latency_us": (response["ts"] - request["ts"]) // 1000,
            "status": "ok",
        }
        self._observer.transaction(self._flow, response["ts"], data)

    def close(self, reason):
        self.asked.clear()


@pytest.fixture
def messages(wire, monkeypatch):
    """Give what is sniffed of the toy on port 9000, beside Modbus on 502."""
    monkeypatch.setattr(protocols, "PROTOCOLS", (*protocols.PROTOCOLS, Toy))
    toy, plant = wire.Tape(server=("10.0.0.9", 9000)), wire.plant_tape(5)
    toy.connect()
    for asks, answers in [
        (b"read 7\n", b"7 = 42\n"),
        (b"read 7\n", b"7 = 43\n"),
        (b"write 7 5\n", b"7 = 5\n"),
    ]:
        toy.send(0, asks)
        toy.send(1, answers)
    return wire.sniff([*toy.packets, *plant.packets])


def of(messages, kind, protocol="toy"):
    found = [message.data for message in messages if message.schema == f"ot.{kind}/1"]
    return [one for one in found if protocol in (one.get("protocol"), *one.get("protocols", ()))]


def test_told(wire, messages):
    """Its exchanges are told in the shape of all others; those of Modbus are what they are without it."""
    found = wire.transactions(messages)
    toys = [one for one in found if one["flow"]["server"]["port"] == 9000]
    assert [(one["op"]["fc"], one["target"]["address"]) for one in toys] == [(1, 7), (1, 7), (2, 7)]
    assert [one.get("read") for one in toys] == [{"values": [42]}, {"values": [43]}, None]
    assert [one for one in found if one not in toys] == [
        {**one, **{part: {**one[part], "frame": one[part]["frame"] + 9} for part in ("request", "response")}}
        for one in wire.transactions(wire.sniff(wire.plant_tape(5).packets))
    ]


def test_followed(wire, messages):
    """What follows from exchanges, whatever the protocol, follows from these, too."""
    changes = [m.data for m in messages if m.schema == "ot.value/1" and m.data["table"] == "point"]
    assert [(one["old"], one["new"], one["cause"]) for one in changes] == [(42, 43, "read"), (43, 5, "write")]
    (link,) = of(messages, "link")
    assert (link["functions"], link["error_rate"]) == ({"1": 2, "2": 1}, 0.0)
    assert link["ranges"][0] == {"unit": 0, "table": "point", "access": "read", "address": 7, "quantity": 1}
    assert [one["roles"] for one in of(messages, "asset", "toy:9000")][-1] == ["server"]
    assert wire.counters(messages)["adus"] == 2 * (3 + 5)
    assert wire.anomalies(messages) == []
