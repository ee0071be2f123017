"""What io_modbus refuses in its configuration, and that it does so all at once."""

import pickle
import sys
from subprocess import run

import pytest
from pydantic import ValidationError

from gears.io_modbus.config import Config
from gears.io_modbus.endpoint import Endpoint, Serial, parse_endpoint


def config(tags=None, **values):
    return Config.model_validate(
        {"endpoint": "tcp://10.0.0.1", "tags": {"a": {"at": "holding/0"}} if tags is None else tags, **values}
    )


@pytest.mark.parametrize(
    ("tag", "mend"),
    [
        ({}, "Field required"),
        ({"at": "holding/65535", "type": "float32"}, "would need register 65536"),
        ({"at": "coil/0", "type": "int16"}, "leave out type"),
        ({"at": "coil/0", "order": "ABCD"}, "no order"),
        ({"at": "discrete/0", "scale": 2}, "no scale"),
        ({"at": "holding/0", "type": "bool"}, "read it as uint16"),
        ({"at": "holding/0", "scale": 0}, "scale 0"),
        ({"at": "holding/0", "scale": float("nan")}, "finite"),
        ({"at": "holding/0", "order": "ABDC"}, "'ABCD', 'CDAB', 'BADC'"),
        ({"at": "holding/0", "order": "HGFEDCBA"}, "write DCBA"),
        ({"at": "holding/0", "type": "int8_low", "order": "DCBA"}, "no order"),
        ({"at": "holding/0", "type": "double"}, "float64"),
        ({"at": "holding/0", "type": "string"}, "add length"),
        ({"at": "holding/0", "length": 3}, "no string"),
        ({"at": "holding/0", "type": "string", "length": 4, "order": "CDAB"}, "ABCD, or BADC"),
        ({"at": "holding/0", "type": "string", "length": 4, "scale": 2}, "no scale"),
        ({"at": "holding/0.3", "type": "uint16"}, "one bit; leave out type"),
        ({"at": "holding/0.3", "scale": 2}, "no scale"),
        ({"at": 40000}, "holding/0"),
        ({"at": "holding/0", "every": "1ms"}, "5ms"),
        ({"at": "input/0", "write": True}, "only coils and holding"),
        ({"at": "holding/0", "max": 3}, "add write: true"),
        ({"at": "holding/0", "write": True, "min": 3, "max": 2}, "no value could"),
        ({"at": "holding/0", "write": True, "allowed": [1, 70000]}, "beyond what a uint16"),
        ({"at": "coil/0", "write": True, "max": 1}, "no max"),
        ({"at": "holding/0", "adress": 1}, "Extra inputs"),
    ],
)
def test_a_wrong_tag_is_refused_with_the_mend(tag, mend):
    """Each fault says what to write."""
    with pytest.raises(ValidationError, match=mend):
        config({"a": tag})


@pytest.mark.parametrize(
    "endpoint",
    [
        "10.0.0.1:502",
        "tcp:/10.0.0.1",
        "tcp://",
        "tcp://h:99999",
        "tcp://h:0",
        "tcp://h/x",
        "tcp://u@h:1",
        "tcp://a..b:502",
        "",
    ],
)
def test_a_wrong_endpoint_is_refused_with_the_mend(endpoint):
    """The error shows an endpoint as it must be."""
    with pytest.raises(ValidationError, match=r"tcp://10\.20\.0\.5:502"):
        config(endpoint=endpoint)


@pytest.mark.parametrize(
    ("endpoint", "mend"),
    [
        ("tpc://10.0.0.1", "did you mean tcp://"),
        ("rtu+tpc://10.0.0.1", "did you mean rtu.tcp://"),
        ("rtu://dev/ttyUSB0", "three slashes"),
        ("rtu:///ttyUSB0", "three slashes"),
        ("rtu:///dev/ttyS0?baud=9601", "baud is one of 1200"),
        ("rtu:///dev/ttyS0?bauds=9600", "did you mean baud"),
        ("rtu:///dev/ttyS0?parity=X", "N, E or O"),
        ("rtu:///dev/ttyS0?bits=7", "bits is one of 8"),
        ("rtu:///dev/ttyS0?baud=9600&baud=9600", "twice"),
        ("rtu:///dev/ttyS0?baud", "write baud=19200"),
        ("ascii:///dev/ttyS0?stop=3", "stop is one of 1, 2"),
    ],
)
def test_a_typo_in_an_endpoint_gets_its_mend(endpoint, mend):
    """The nearest scheme or setting, or what there is."""
    with pytest.raises(ValidationError, match=mend):
        config(endpoint=endpoint)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://10.0.0.1:1502", Endpoint("tcp", "mbap", "10.0.0.1", 1502)),
        ("tcp://plc-3.lan", Endpoint("tcp", "mbap", "plc-3.lan", 502)),
        ("tcp://[fe80::1]:502", Endpoint("tcp", "mbap", "fe80::1", 502)),
        ("tls://plc", Endpoint("tls", "mbap", "plc", 802)),
        ("udp://plc", Endpoint("udp", "mbap", "plc", 502)),
        ("rtu+tcp://plc:4001", Endpoint("tcp", "rtu", "plc", 4001)),
        ("rtu:///dev/ttyUSB0", Endpoint("serial", "rtu", "/dev/ttyUSB0", 0, Serial(19200, "E", 1, 8))),
        ("ascii:///dev/ttyUSB0", Endpoint("serial", "ascii", "/dev/ttyUSB0", 0, Serial(19200, "E", 1, 7))),
        (
            "ascii:///dev/ttyS1?baud=9600&parity=n&bits=7",
            Endpoint("serial", "ascii", "/dev/ttyS1", 0, Serial(9600, "N", 2, 7)),
        ),
    ],
)
def test_endpoints_are_read(text, address):
    """Names, IPv4 and IPv6 addresses with the port of their kind; serial lines as the standard sets them."""
    assert parse_endpoint(text) == address


def test_all_faults_are_found_at_once():
    """One check of a long tag list is enough."""
    tags = {"a": {"at": "holdin/0"}, "b": {"at": "coil/0", "type": "int16"}, "": {"at": "holding/1"}}
    with pytest.raises(ValidationError) as caught:
        config(tags, unit=256, every=5)
    assert caught.value.error_count() == 5


def test_what_is_wrong_between_tags_is_found_beside_what_is_wrong_in_them():
    """A typo in the endpoint and in one tag do not hide that two others overlap and one is out of range."""
    tags = {
        "a": {"at": "holding/0", "type": "float32"},
        "b": {"at": "holding/1"},
        "c": {"at": "holding/65535", "type": "uint32"},
        "d": {"at": "holdin/9"},
    }
    device = {"unit": 2, "tags": {"e": {"at": "coil/1", "type": "int8"}, "f": {"at": "holding/5"}}}
    device["forbidden"] = ["holding/5"]
    with pytest.raises(ValidationError) as caught:
        config(tags, endpoint="tpc://h", devices={"x": device})
    assert {each["loc"][: 4 if each["loc"][0] == "devices" else 2] for each in caught.value.errors()} == {
        ("endpoint",),
        ("tags", "b"),
        ("tags", "c"),
        ("tags", "d"),
        ("devices", "x", "tags", "e"),
        ("devices", "x", "tags", "f"),
    }


def test_types_follow_the_table():
    """A bit is a bool and a register a uint16 if nothing is said."""
    tags = {
        "a": {"at": "coil/0"},
        "b": {"at": "discrete/0"},
        "c": {"at": "input/0"},
        "d": {"at": "holding/0"},
    }
    assert [tag.type for tag in config(tags).units[0].decoded.values()] == [
        "bool",
        "bool",
        "uint16",
        "uint16",
    ]


def test_each_tag_may_have_a_request_of_its_own():
    """For a device that answers a value and nothing longer, side by side or in one register."""
    tags = {"a": {"at": "holding/0", "type": "float32"}, "b": {"at": "holding/2"}, "c": {"at": "holding/2.3"}}
    [device] = config(tags, request_per_tag=True).units
    blocks = device.plan(device.decoded.values())
    assert [(block.start, block.count, len(block.tags)) for block in blocks] == [
        (0, 2, 1),
        (2, 1, 1),
        (2, 1, 1),
    ]
    [device] = config(tags).units
    assert len(device.plan(device.decoded.values())) == 1


def test_a_config_survives_json_and_pickle():
    """It can go to a worker process, and be shown as it was written."""
    full = config(
        {"a": {"at": "holding/0", "type": "float32", "order": "CDAB", "unit": "bar"}}, every="250ms"
    )
    assert Config.model_validate_json(full.model_dump_json(exclude_unset=True)) == full
    assert pickle.loads(pickle.dumps(full)) == full  # noqa: S301 - our own bytes


def test_checking_a_config_needs_no_driver():
    """The Mixer checks Rack files where pymodbus is not installed."""
    code = "import gears.io_modbus.config, sys; sys.exit('pymodbus' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("endpoint", ["rtu:///dev/ttyS0", "ascii+tcp://10.0.0.1"])
def test_a_serial_line_has_no_unit_0(endpoint):
    """What is sent to unit 0 there is for all, and nobody answers; over Modbus TCP it is a unit like any."""
    with pytest.raises(ValidationError, match="none answers; write its own"):
        config(endpoint=endpoint, unit=0)
    config(endpoint=endpoint, unit=1)
    config(unit=0)


@pytest.mark.parametrize("more", [{"endpoint": "tpc://h"}, {"every": 5}, {"devices": {"x": {"unit": 3}}}])
def test_that_there_are_no_tags_is_told_beside_other_faults(more):
    """The gear itself, or a device, lacks tags: a typo elsewhere does not hide it."""
    with pytest.raises(ValidationError, match="there are no tags"):
        config({}, **more)


def test_tags_that_are_wrong_are_no_missing_tags():
    """Who mends the only tag has nothing else to mend."""
    for more in (
        {"tags": {"a": {"at": "holdin/0"}}},
        {"devices": {"x": {"tags": {"a": {}}}}},
        {"devices": 5},
    ):
        with pytest.raises(ValidationError) as caught:
            Config.model_validate({"endpoint": "tcp://h", **more})
        assert "there are no tags" not in str(caught.value), more
