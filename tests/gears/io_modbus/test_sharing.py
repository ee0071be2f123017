"""Gears of one Rack file that name one endpoint."""

import pytest

from fluxrig.catalog import installed
from fluxrig.errors import ConfigError
from fluxrig.rackfile import parse


def faults_of(one, two):
    """Check a Rack file with two gears, and give what is wrong with it."""
    gears = "".join(
        f"  {name}:\n    kind: io_modbus\n    tags: {{n: {{at: holding/0}}}}\n"
        + "".join(f"    {line}\n" for line in lines)
        for name, lines in (("one", one), ("two", two))
    )
    text = f"rack: r\nuns: a\ngears:\n{gears}wires: [one -> uplink, two -> uplink]\n"
    try:
        parse(text, installed())
    except ConfigError as error:
        return [(fault.line, fault.message) for fault in error.faults]
    return []


TCP = "endpoint: tcp://10.0.0.5"
SERIAL = "endpoint: rtu:///dev/ttyS0?baud=9600"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("backup: tcp://10.0.0.6", "backup: null, here it is tcp://10.0.0.6"),
        ("connect_timeout: 500ms", "connect_timeout: 3s, here it is 500ms"),
        ("tls: {verify: false}", "tls: null, here it is {'verify': False}"),
        ("idle_timeout: 1m", "idle_timeout: null, here it is 1m"),
        ("probe_connection: false", "probe_connection: true, here it is false"),
    ],
)
def test_what_belongs_to_the_connection_is_said_alike(key, said):
    """A key that only one of them could have is a fault at the later gear's key, whoever says it."""
    [(line, message)] = faults_of([TCP], [f"{TCP}:502", key])
    assert line == 12
    assert message == f"'one' shares this endpoint and has {said}; say the same in both"
    assert len(faults_of([TCP, key], [TCP])) == 1
    assert faults_of([TCP, key], [TCP, key]) == []


def test_gears_of_their_own_may_differ():
    """Another endpoint, another process, or a key that each request may have for itself."""
    assert faults_of([TCP], [f"{TCP}:503", "connect_timeout: 1s"]) == []
    assert faults_of([TCP], [TCP, "isolate: process", "connect_timeout: 1s"]) == []
    assert faults_of([TCP], [TCP, "response_timeout: 5s", "pause_between_requests: 10ms"]) == []


def test_a_serial_line_has_one_setting_and_one_process():
    """The same line at another speed, in another framing, or in another process would be a babel."""
    for other in ("rtu:///dev/ttyS0?baud=19200", "ascii:///dev/ttyS0?baud=9600"):
        [(line, message)] = faults_of([SERIAL], [f"endpoint: {other}"])
        assert line == 11
        assert "'one' has rtu:///dev/ttyS0?baud=9600; a serial line has one setting" in message
    [(_, message)] = faults_of([SERIAL], [SERIAL, "isolate: process"])
    assert "from another process" in message
    assert faults_of([SERIAL], [SERIAL]) == []
