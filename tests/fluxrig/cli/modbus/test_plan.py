"""`fluxrig modbus plan`: what a Rack file asks for."""

import json

import pytest

RACK = """
rack: r
uns: a/b
gears:
  press:
    kind: io_modbus
    endpoint: {endpoint}
    every: 100ms
    {more}
    tags:
      a: {{at: holding/0, type: float32}}
      b: {{at: holding/4}}
      c: {{at: coil/3}}
      slow: {{at: holding/40, every: 1s}}
  screen: {{kind: stdout}}
wires:
  - press -> screen
"""


@pytest.fixture
def rack(tmp_path):
    def write(endpoint="tcp://127.0.0.1:502", more="max_hole: 16"):
        file = tmp_path / "rack.yaml"
        file.write_text(RACK.format(endpoint=endpoint, more=more))
        return file

    return write


def test_requests_and_what_they_waste(rack, fluxrig):
    """Every request with its tags, the addresses touched and wasted, and the time with the latency given."""
    document = json.loads(fluxrig("plan", rack(), "--latency", "20ms", "--json").out)
    fast, slow = document["cycles"]
    coil = {"table": "coil", "start": 3, "count": 1, "wasted": 0, "tags": ["c"]}
    holding = {"table": "holding", "start": 0, "count": 5, "wasted": 2, "tags": ["a", "b"]}
    assert fast["requests"] == [coil, holding]
    assert (fast["touched"], fast["wasted"]) == ({"registers": 5, "bits": 1}, {"registers": 2, "bits": 0})
    assert (fast["every_s"], fast["cycle_ms"], fast["load"]) == (0.1, 40.0, 0.4)
    assert (slow["every_s"], slow["cycle_ms"]) == (1.0, 20.0)
    assert document["lines"] == [{"endpoint": "127.0.0.1:502", "load": 0.42}]
    assert fast["latency"] == "20 ms latency as given"


def test_the_output_says_what_the_time_rests_on(rack, fluxrig):
    """An assumption is called one."""
    ran = fluxrig("plan", rack())
    assert ran.code == 0
    assert "2 requests touching 5 registers (2 wasted) and 1 bits, for 3 tags" in ran.out
    assert "10 ms latency assumed" in ran.out


def test_a_cycle_that_does_not_fit(rack, fluxrig):
    """More work than time is an error, with the plan still shown."""
    ran = fluxrig("plan", rack(), "--latency", "60ms")
    assert ran.code == 1
    assert "poll less often" in ran.err
    assert "holding/0-4" in ran.out


def test_pauses_and_baud_rates_count(rack, fluxrig):
    """Pauses are added for each request, and on a serial line the bytes at its baud rate (11 bits each)."""
    paused = json.loads(
        fluxrig("plan", rack(more="pause_between_requests: 5ms"), "--latency", "20ms", "--json").out
    )
    assert paused["cycles"][0]["cycle_ms"] == 50.0
    serial = json.loads(fluxrig("plan", rack("rtu:///dev/ttyS9?baud=9600"), "--latency", "1ms", "--json").out)
    bytes_sent = (8 + 6) + (8 + 15)
    silence_s = 2 * 3.5 * 11 / 9600
    expected_ms = (bytes_sent * 11 / 9600 + silence_s + 2 * 0.001) * 1e3
    assert serial["cycles"][0]["cycle_ms"] == pytest.approx(expected_ms, abs=0.01)


def test_measuring_asks_the_device(rack, plant, fluxrig):
    """--measure sends each request once, and reckons with what the answers took."""
    document = json.loads(fluxrig("plan", rack(plant.url), "--measure", "--json").out)
    assert "measured, the median of 2 requests" in document["cycles"][0]["latency"]
    assert 0 < document["cycles"][0]["cycle_ms"] < 5000


def test_wrong_use(rack, tmp_path, fluxrig):
    """A gear that is not there, two ways at once, a file without Modbus, a file with faults."""
    assert fluxrig("plan", rack(), "--gear", "screen").code == 2
    assert fluxrig("plan", rack(), "--measure", "--latency", "1ms").code == 2
    ran = fluxrig("plan", rack("tpc://x"))
    assert ran.code == 2
    assert "did you mean tcp" in ran.err
    other = tmp_path / "other.yaml"
    other.write_text("rack: r\nuns: a\ngears:\n  s: {kind: simulate}\nwires:\n  - s -> uplink\n")
    ran = fluxrig("plan", other)
    assert (ran.code, "no gear of kind io_modbus" in ran.err) == (1, True)
