"""`fluxrig modbus scan`: what it finds, how little it asks, and when it stops."""

import asyncio
import json
import signal
import socketserver
import struct
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxrig.cli.modbus.distress import Distress, DistressError
from fluxrig.cli.modbus.ranges import find_ranges, joined


class Table:
    """A table of a device that counts what it is asked."""

    def __init__(self, present):
        self.present = frozenset(present)
        self.asked = []

    async def readable(self, start, count):
        self.asked.append((start, count))
        return self.present.issuperset(range(start, start + count))


def found(table, first, last, block=100, **options):
    return asyncio.run(find_ranges(table.readable, first, last, block, **options))


def test_a_table_that_is_there_costs_a_request_a_block():
    """1,000 registers in blocks of 100 are ten requests."""
    table = Table(range(2000))
    assert found(table, 0, 999) == [(0, 999)]
    assert len(table.asked) == 10


def test_an_empty_table_costs_few_requests():
    """1,000 addresses without a register are at most eleven requests a block."""
    table = Table([])
    assert found(table, 0, 999) == []
    assert len(table.asked) <= 110


def test_a_table_that_ends_within_a_block():
    """The end is found to the register, with far fewer requests than registers."""
    table = Table(range(137))
    assert found(table, 0, 999) == [(0, 136)]
    assert len(table.asked) <= 150


@settings(max_examples=50, deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 290), st.integers(1, 40)), max_size=4),
    st.integers(1, 125),
    st.booleans(),
)
def test_what_it_finds_is_true(ranges, block, thorough):
    """Nothing is found that is not there, ranges do not touch, and `thorough` finds everything."""
    present = {at for start, size in ranges for at in range(start, start + size)} & set(range(300))
    table = Table(present)
    got = found(table, 0, 299, block, thorough=thorough)
    addresses = [at for first, last in got for at in range(first, last + 1)]
    assert set(addresses) <= present
    assert len(addresses) == len(set(addresses))
    assert all(after[0] > before[1] + 1 for before, after in pairwise(got))
    assert not any(edge in present for low, high in got for edge in (low - 1, high + 1))
    if thorough:
        assert set(addresses) == present
    assert all(count <= block and start >= 0 and start + count <= 300 for start, count in table.asked)


@pytest.mark.parametrize("start", [3, 147, 985])
def test_a_range_of_ten_is_found_wherever_it_is(start):
    """Machine builders leave holes: what is between two blocks that are not there is not overlooked."""
    assert found(Table(range(start, start + 10)), 0, 999) == [(start, start + 9)]


def test_ranges_that_touch_are_one():
    """Blocks side by side are one range."""
    assert joined([(0, 9), (10, 19), (30, 30), (31, 40)]) == [(0, 19), (30, 40)]
    assert joined([]) == []


def test_signs_of_distress():
    """Growing latency, refusals and losses stop a scan; a fast or merely slow device does not."""
    calm = Distress()
    for latency_ms in [5.0] * 20 + [90.0] * 20:
        calm.answered(latency_ms)
    for _ in range(10):
        calm.refused("server_device_busy")
        calm.answered(5.0)
        calm.lost("no answer")
        calm.answered(5.0)
    slowing = Distress()
    for _ in range(10):
        slowing.answered(30.0)
    slowing.answered(200.0)
    slowing.answered(200.0)
    with pytest.raises(DistressError, match="200 ms instead of 30"):
        slowing.answered(200.0)
    for note in (Distress().refused, Distress().lost):
        note("x")
        note("x")
        with pytest.raises(DistressError):
            note("x")


def test_units_and_ranges_are_found(plant, fluxrig):
    """The units that answer and how, and the ranges of their tables. Units that it lacks, it refuses."""
    options = ("--units", "1-6", "--to", 99, "--pause", "1ms", "--json")
    ran = fluxrig("scan", plant.url, *options)
    document = json.loads(ran.out)
    assert (ran.code, document["stopped"]) == (0, None)
    units = {unit["unit"]: unit for unit in document["units"]}
    assert [number for number, unit in units.items() if unit["answers"] == "ok"] == [1, 5]
    for number in (1, 5):
        tables = units[number]["tables"]
        assert tables["holding"] == [{"first": 0, "last": 49}, {"first": 60, "last": 69}]
        assert tables["input"] == [{"first": 0, "last": 9}]
        assert tables["coil"][0]["first"] == 0
    assert document["requests"] < 400


def test_silent_units(scripted, fluxrig):
    """A unit that does not answer, or whose gateway answers in its place, is told as silent."""

    def answer(number, unit, function, start, count):
        if unit == 3:
            return bytes([function | 0x80, 11])
        return registers(function, count) if start + count <= 70 else bytes([function | 0x80, 2])

    device = scripted(answer, silent_units=(2,))
    options = ("--units", "1-4", "--tables", "holding", "--to", 99, "--pause", "1ms", "--timeout", "100ms")
    document = json.loads(fluxrig("scan", device.url, *options, "--json").out)
    assert [unit["unit"] for unit in document["units"]] == [1, 4]
    assert document["silent"] == [2, 3]
    ran = fluxrig("scan", device.url, *options)
    assert "unit 1 answers" in ran.out
    assert "holding   0-69" in ran.out
    assert "silent: 2, 3" in ran.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--units", "1-300"), "1-247"),
        (("--units", "5-1"), "1-247"),
        (("--units", "x"), "1-247"),
        (("--tables", "hold"), "there are"),
        (("--from", "10", "--to", "9"), "before"),
        (("--block", "126"), "125"),
        (("--pause", "5"), "unit"),
    ],
)
def test_wrong_options_are_refused(plant, fluxrig, options, said):
    """They exit with 2 and say what to write."""
    ran = fluxrig("scan", plant.url, *options)
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", "").split())


def test_nobody_there(fluxrig):
    """An endpoint that takes no connection is one clear error at once."""
    ran = fluxrig("scan", "tcp://127.0.0.1:1")
    assert (ran.code, ran.out) == (1, "")
    assert "check address" in ran.err


class Scripted(socketserver.ThreadingTCPServer):
    """A device of a test: `answer(number, unit, function, start, count)` gives a PDU, or None to hang up."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer, silent_units=()):
        self.answer = answer
        self.silent_units = silent_units
        self.requests = 0
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"tcp://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that hangs up is nothing to tell."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while len(request := self.rfile.read(12)) == 12:
            transaction, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", request)
            self.server.requests += 1
            if unit in self.server.silent_units:
                continue
            pdu = self.server.answer(self.server.requests, unit, function, start, count)
            if pdu is None:
                return
            self.wfile.write(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu)


@pytest.fixture
def scripted():
    servers = []

    def start(answer, **options):
        server = Scripted(answer, **options)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(10)
        server.server_close()


def registers(function, count):
    size = (count + 7) // 8 if function < 3 else 2 * count
    return bytes([function, size]) + bytes(size)


def test_a_device_that_grows_busy_is_left_alone(scripted, fluxrig):
    """After a few answers that it is busy the scan stops, and still tells what it found."""

    def answer(number, unit, function, start, count):
        return registers(function, count) if number < 4 else bytes([function | 0x80, 6])

    device = scripted(answer)
    ran = fluxrig("scan", device.url, "--units", "1", "--pause", "1ms", "--json")
    document = json.loads(ran.out)
    assert ran.code == 1
    assert "busy" in document["stopped"]
    assert [unit["unit"] for unit in document["units"]] == [1]
    assert device.requests < 10


def test_a_device_that_stops_answering_is_left_alone(scripted, fluxrig):
    """A device that closes the connection again and again is not asked on and on."""

    def answer(number, unit, function, start, count):
        return registers(function, count) if number < 4 else None

    device = scripted(answer)
    ran = fluxrig("scan", device.url, "--units", "1", "--pause", "1ms", "--json")
    assert ran.code == 1
    assert "stopped answering" in json.loads(ran.out)["stopped"]
    assert device.requests < 12


def test_a_device_that_ignores_the_unit_is_one_device(scripted, fluxrig):
    """Where every number answers, only the first is looked into, and the output says so."""
    device = scripted(lambda number, unit, function, start, count: registers(function, count))
    ran = fluxrig("scan", device.url, "--units", "1-5", "--to", 99, "--pause", "1ms", "--json")
    document = json.loads(ran.out)
    assert [bool(unit["tables"]) for unit in document["units"]] == [True, False, False, False, False]
    assert "ignores" in document["note"]


def test_ctrl_c_shows_what_was_found(scripted, fluxrig):
    """A scan that is interrupted prints the units so far as whole JSON, and exits with 130."""

    def answer(number, unit, function, start, count):
        if number == 5:
            signal.raise_signal(signal.SIGINT)
        return registers(function, count)

    device = scripted(answer)
    ran = fluxrig("scan", device.url, "--units", "1-200", "--pause", "50ms", "--json")
    document = json.loads(ran.out)
    assert (ran.code, document["stopped"]) == (130, "interrupted")
    assert [unit["unit"] for unit in document["units"]][:4] == [1, 2, 3, 4]
    assert len(document["units"]) < 10


def test_a_table_that_the_device_does_not_know(scripted, fluxrig):
    """Exception 1 says at once that a table is not there."""

    def answer(number, unit, function, start, count):
        return registers(function, count) if function == 3 else bytes([function | 0x80, 1])

    device = scripted(answer)
    ran = fluxrig("scan", device.url, "--units", "1", "--pause", "1ms", "--json")
    (unit,) = json.loads(ran.out)["units"]
    assert unit["tables"] == {
        "coil": [],
        "discrete": [],
        "holding": [{"first": 0, "last": 999}],
        "input": [],
    }
    assert device.requests == 1 + 10 + 3
