"""What the configuration refuses, and that it says what to do."""

import pytest
from pydantic import ValidationError

from fluxrig.catalog import installed
from fluxrig.errors import ConfigError
from fluxrig.rackfile import load, parse
from gears.modbus_server.config import Config, parse_listen


def fault_of(tags=None, **values):
    """What is wrong with a configuration."""
    config = {
        "listen": "tcp://127.0.0.1",
        "tags": {"a": {"at": "holding/0"}} if tags is None else tags,
        **values,
    }
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(config)
    return "; ".join(error["msg"] for error in raised.value.errors())


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"a": {"at": "holding/0", "type": "float32"}, "b": {"at": "holding/1"}}, "claim the same bits"),
        ({"a": {"at": "holding/0.3"}, "b": {"at": "holding/0.3"}}, "claim the same bits"),
        ({"a": {"at": "holding/0.3"}, "b": {"at": "holding/0", "type": "int8_low"}}, "claim the same bits"),
        ({"a": {"at": "coil/7"}, "b": {"at": "coil/7"}}, "claim the same bits"),
        ({"a": {"at": "holding/65535", "type": "float32"}}, "the last one is 65535"),
        ({"a": {"at": "input/0", "write": True}}, "can't write to input"),
        ({"a": {"at": "discrete/0", "write": True}}, "coil/"),
        ({"a": {"at": "holding/0", "min": 1}}, "add write: true"),
        ({"a": {"at": "holding/0", "write": True, "min": 2, "max": 1}}, "swap them"),
        ({"a": {"at": "coil/0", "write": True, "max": 1}}, "has no min and max"),
        ({"a": {"at": "hodling/0"}}, "did you mean holding"),
        (
            {
                "a": {"at": "holding/0", "tag": "x", "write": True},
                "b": {"at": "holding/1", "tag": "x", "write": True},
            },
            "both written as x",
        ),
        ({}, "there are no tags"),
    ],
)
def test_impossible_tags_are_refused(tags, words):
    """Tags that overlap, don't fit or can't be written are found before anything starts."""
    assert words in fault_of(tags)


def test_tags_may_share_a_register():
    """Bits and bytes of one register are tags of their own, and tables do not overlap."""
    tags = {
        "low": {"at": "holding/0", "type": "uint8_low"},
        "bit": {"at": "holding/0.15"},
        "input": {"at": "input/0"},
        "coil": {"at": "coil/0"},
    }
    Config.model_validate({"listen": "tcp://127.0.0.1", "tags": tags})


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:502", "udp://127.0.0.1", "tcp://", "tcp://h:99999", "tcp://h/x", "tcp://u@h", "tcp://h:x"],
)
def test_a_wrong_place_to_listen_is_refused(listen):
    """The message shows what to write."""
    assert "tcp://address:port" in fault_of(listen=listen)


def test_the_places_to_listen():
    """The port is 502 unless it is said; addresses of IPv6 stand in brackets."""
    assert parse_listen("tcp://10.20.0.5") == ("10.20.0.5", 502)
    assert parse_listen("tcp://[::1]:0") == ("::1", 0)


@pytest.mark.parametrize(
    "values",
    [{"allow": ["10.0.0.1/8"]}, {"max_clients": 0}, {"unit": 256}, {"when_bad": "zero"}, {"max_age": 5}],
)
def test_other_nonsense_is_refused(values):
    """Networks with host bits, no clients at all, units beyond 255, unknown words, durations without unit."""
    assert fault_of(**values)


def test_the_example_checks(tmp_path):
    """`example.yaml` is a Rack file without a fault."""
    from importlib.resources import files

    file = tmp_path / "rack.yaml"
    file.write_text((files("gears.modbus_server") / "example.yaml").read_text())
    assert set(load(file, installed(), {}).gears) == {"press", "scada", "screen"}


RACK = """
rack: r
uns: a/b
gears:
  scada:
    kind: modbus_server
    listen: tcp://127.0.0.1:0
    tag_list: tags.csv
    tags:
      speed: {at: holding/9}
  screen: {kind: stdout}
wires:
  - scada -> screen
"""


def test_tags_come_from_a_list(tmp_path):
    """A CSV file beside the Rack file has tags with the same keys; what the Rack file says goes before it."""
    (tmp_path / "rack.yaml").write_text(RACK)
    (tmp_path / "tags.csv").write_text(
        "name;at;type;write;max\nspeed;holding/0;;;\nset;40003;float32;true;9.5\n"
    )
    config = load(tmp_path / "rack.yaml", installed(), {}).gears["scada"].config
    assert {name: str(tag.at) for name, tag in config.to_serve().items()} == {
        "speed": "holding/9",
        "set": "holding/2",
    }
    assert (config.all_tags["set"].write, config.all_tags["set"].max) == (True, 9.5)


def test_a_bad_line_of_a_list_is_named(tmp_path):
    """A fault in the CSV file is told with its file, line and column."""
    (tmp_path / "rack.yaml").write_text(RACK)
    (tmp_path / "tags.csv").write_text("name,at,write\na,input/0,true\nb,hodling/1,\n")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "rack.yaml", installed(), {})
    told = str(raised.value)
    assert "tags.csv:2:" in told
    assert "tags.csv:3:3" in told
    assert "did you mean holding" in told


def test_two_servers_at_one_place_are_found_by_check():
    """The second would never get the port; port 0 is any, so it is no fault."""
    server = "{kind: modbus_server, listen: LISTEN, tags: {n: {at: coil/0}}}"
    text = "rack: r\nuns: a\ngears:\n  a: {kind: simulate, tags: {n: true}}\n"
    text += f"  one: {server}\n  two: {server}\n"
    text += "wires: [a -> one, a -> two, one -> uplink, two -> uplink]\n"
    with pytest.raises(ConfigError) as caught:
        parse(text.replace("LISTEN", "tcp://127.0.0.1"), installed())
    [fault] = [fault for fault in caught.value.faults if "listens" in fault.message]
    assert (fault.line, fault.message) == (
        6,
        "'one' listens on tcp://127.0.0.1 already; take another port",
    )


def test_every_fault_is_found_at_once(tmp_path):
    """What is wrong in tags, in the list, between tags and beside them: each at its place, in one check."""
    lines = "name,at,type", "x,holding/0,float32", "y,hodling/1,", "z,holding/1,int32"
    (tmp_path / "scada.csv").write_text("\n".join(lines))
    (tmp_path / "rack.yaml").write_text("""\
rack: r
uns: a/b
gears:
  sim: {kind: simulate, rate: 1, tags: {a: {wave: step, period: 3s}}}
  scada:
    kind: modbus_server
    listen: tpc://127.0.0.1
    tag_list: scada.csv
    tags:
      a: {at: coil/0, type: int16}
      b: {at: input/65535, type: float64}
      c: {at: holding/2}
      d: {at: input/8, type: int32}
      e: {at: input/9}
wires:
  - sim -> scada
""")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "rack.yaml", installed(), {})
    told = [str(fault).replace(f"{tmp_path}/", "") for fault in raised.value.faults]
    assert [text.partition(": ")[0] for text in told] == [
        "rack.yaml:7:13",
        "rack.yaml:10:7",
        "rack.yaml:11:7",
        "rack.yaml:12:7",
        "rack.yaml:14:7",
        "scada.csv:3:3",
        "scada.csv:4:1",
    ]
    words = [
        "no place to listen",
        "leave out type",
        "the last one is 65535",
        "z (holding/1) and c",
        "d (input/8)",
        "did you mean holding",
        "x (holding/0) and z",
    ]
    for text, word in zip(told, words, strict=True):
        assert word in text
