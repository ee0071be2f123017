"""A whole Rack file: what a good one becomes, and that every fault of a bad one is found at its place."""

import pickle

import pytest

from fluxrig.rackfile import Endpoint, WireSpec


def test_a_good_file_becomes_a_rack(passes, good) -> None:
    """Names, joined UNS paths, configs, defaults and wires are ready for the engine."""
    spec = passes(good)
    assert (spec.name, spec.uns, spec.snake) == ("press-line-3", "acme/lyon", None)
    press = spec.gears["press"]
    assert (press.kind, press.uns, press.timeout_s, press.config.every) == (
        "poll",
        "acme/lyon/press",
        30,
        0.1,
    )
    ends = [("press.out", "steady.in"), ("steady.out", "uplink.in")]
    assert [(str(wire.source), str(wire.target)) for wire in spec.wires] == ends
    assert {(wire.queue, wire.when_full) for wire in spec.wires} == {(10_000, "block")}


def test_a_rack_pickles(passes, good) -> None:
    """A Rack can be handed to a worker process."""
    spec = passes(good)
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes


def test_common_keys(passes, good) -> None:
    """Every kind of gear has uns and timeout beside its own keys."""
    spec = passes(good.replace("{kind: pass}", "{kind: pass, uns: a/b, process_timeout: 2s}"))
    assert (spec.gears["steady"].uns, spec.gears["steady"].timeout_s) == ("acme/lyon/a/b", 2)


def test_a_wire_with_settings(passes, good) -> None:
    """A wire may state its bound, what it does when full, and its lane."""
    wire = "  - {wire: press.error -> uplink, queue: 5, when_full: drop_oldest, lane: hot}\n"
    expected = WireSpec(Endpoint("press", "error"), Endpoint("uplink", "in"), 5, "drop_oldest")
    assert passes(good + wire).wires[-1] == expected


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("mixer.acme.example", "mixer.acme.example", 7422),
        ("10.0.0.1:99", "10.0.0.1", 99),
        ("'[::1]'", "::1", 7422),
        ("'[::1]:5'", "::1", 5),
    ],
)
def test_mixer_address(passes, good, address: str, host: str, port: int) -> None:
    """The Mixer is a host or host:port, IPv6 in brackets."""
    snake = passes(f"{good}snake: {{mixer: {address}}}\n").snake
    assert (snake.host, snake.port, snake.join, snake.join_file) == (host, port, "", None)


FAULTS = {
    "unknown key at the top": ("rack:", "rak: 1\nrack:", "1:1: unknown key 'rak'; did you mean 'rack'?"),
    "missing key at the top": ("uns: acme/lyon\n", "", "1:1: the key 'uns' is missing"),
    "a name NATS would not take": ("press-line-3", "Press.3", "1:7: 'rack': a Rack's name has up to 32"),
    "a number for a name": ("press-line-3", "3", "1:7: 'rack' must be text, not 3; put it in quotes"),
    "bad UNS segment": ("acme/lyon", "acme/ly.on", "2:6: 'uns': UNS segment 'ly.on' holds '.'"),
    "empty UNS segment": ("acme/lyon", "acme//lyon", "2:6: 'uns': a UNS segment is empty; write names"),
    "long UNS path": (
        "{kind: pass}",
        "{kind: pass, uns: " + "a/" * 255 + "b}",
        "10:3: the UNS path is longer",
    ),
    "unknown kind": ("kind: poll", "kind: pol", "5:11: there is no kind 'pol'; did you mean 'poll'?"),
    "missing kind": ("{kind: pass}", "{keep: true}", "10:3: the key 'kind' is missing"),
    "a gear without settings": (
        "{kind: pass}",
        "",
        "10:3: 'steady' must be a mapping that begins with kind:",
    ),
    "unknown key in a gear": ("every:", "evry:", "7:5: unknown key 'evry'; did you mean 'every'?"),
    "common keys are suggested": (
        "every: 100ms",
        "process_timeut: 1s",
        "7:5: unknown key 'process_timeut'; did you mean 'process_timeout'?",
    ),
    "unknown key deep down": (
        "type: float32",
        "typ: uint16",
        "9:33: unknown key 'typ'; did you mean 'type'?",
    ),
    "missing key deep down": ("at: holding/0, ", "", "9:7: 'pressure' lacks the key 'at'"),
    "a value's own check": (
        "holding/0",
        "holdin/0",
        "9:22: 'at': 'holdin/0' is no address; write table/number",
    ),
    "a word of a choice": ("float32", "float23", "9:39: 'type' must be 'uint16' or 'float32', not 'float23'"),
    "a duration without unit": (
        "100ms",
        "100",
        "7:12: 'every': a duration needs its unit; write 100ms or 100s",
    ),
    "a limit": ("every: 100ms", "unit: 256", "7:11: 'unit' must be at most 255, not 256"),
    "a wrong type": ("every: 100ms", "unit: [1]", "7:5: 'unit' must be a whole number, not a list"),
    "true for a number": ("every: 100ms", "unit: true", "7:11: 'unit' must be a number, not true"),
    "true for a number deep down": (
        "type: float32",
        "scale: false",
        "9:40: 'scale' must be a number, not false",
    ),
    "an empty value": ("tcp://10.0.0.1:502", "", "6:14: 'endpoint' is empty; give it a value"),
    "a check over a gear": ("every: 100ms", "low: 2\n    high: 1", "4:3: low is above high"),
    "no entries": (
        "{kind: pass}",
        "{kind: poll, endpoint: a, tags: {}}",
        "10:37: 'tags' must have entries, at least 1, not {}",
    ),
    "a gear called uplink": (
        "steady: {",
        "uplink: {",
        "10:3: 'uplink' is built in; give this gear another name",
    ),
    "a gear name with a dot": ("steady: {", "st.eady: {", "10:3: the gear name 'st.eady' is not made of"),
    "a gear twice": ("steady: {", "press: {", "10:3: 'press' is already given at line 4; keep one of them"),
    "a guaranteed lane": (
        "- press -> steady -> uplink",
        "- {wire: press -> steady -> uplink, lane: guaranteed}",
        "12:45: 'lane': the guaranteed lane is not available",
    ),
    "a queue of nothing": (
        "- press -> steady -> uplink",
        "- {wire: press -> steady -> uplink, queue: 0}",
        "12:46: 'queue' must be at least 1, not 0",
    ),
    "a scheme before the Mixer": (
        "gears:",
        "snake: {mixer: 'nats://a'}\ngears:",
        "3:16: 'mixer': write the Mixer as",
    ),
    "a port out of range": (
        "gears:",
        "snake: {mixer: 'a:70000'}\ngears:",
        "3:16: 'mixer': write the Mixer as",
    ),
}


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS.values(), ids=FAULTS)
def test_each_fault_stands_where_it_is(fails, good, old: str, new: str, fault: str) -> None:
    """One wrong word gives a fault at its line and column that says what to write."""
    assert old in good
    assert [found for found in fails(good.replace(old, new, 1)) if found.startswith(fault)]


def test_one_wrong_word_is_one_fault(fails, good) -> None:
    """A fault in a value brings no others after it."""
    for old, new in [("float32", "float23"), ("holding/0", "x"), ("100ms", "1"), ("-3", ".3")]:
        assert len(fails(good.replace(old, new, 1))) == 1


def test_all_faults_at_once_in_the_order_of_the_file(fails, good) -> None:
    """Every fault is reported, from the first line to the last."""
    bad = good.replace("100ms", "1").replace("float32", "x").replace("-3", ".3").replace("uplink", "uplnk")
    lines = [int(fault.split(":")[0]) for fault in fails(bad)]
    assert lines == [1, 7, 9, 12]


def test_faults_are_bounded(fails, good) -> None:
    """Ten thousand faults end in a count, not in ten thousand lines."""
    tags = "".join(f"      t{n}: {{at: wrong}}\n" for n in range(10_000))
    faults = fails(good.replace("  steady", tags + "  steady"))
    assert len(faults) == 201
    assert "9800 more faults are not shown" in faults[-1]


@pytest.mark.parametrize("text", ["", "   \n", "# only a comment\n", "---\n...\n", "~"])
def test_an_empty_file(fails, text: str) -> None:
    """An empty file is one fault about the file."""
    assert fails(text) == ["0:0: the file is empty; begin with rack:, uns:, gears: and wires:"]


@pytest.mark.parametrize("text", ["[]", "- rack: a", "rack", "5", "'x'"])
def test_no_mapping(fails, text: str) -> None:
    """A list or a single value is one fault."""
    assert len(fails(text)) == 1
    assert "a Rack file is a mapping" in fails(text)[0]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("gears: 5", ["'gears' must be a mapping of 'key: value', not 5"]),
        ("gears: {}", ["'gears' must have entries, at least 1, not {}"]),
        ("wires: a -> b", ["'wires' must be a list such as [a, b], not 'a -> b'"]),
        ("wires: []", ["'wires' must have entries, at least 1, not []"]),
    ],
)
def test_wrong_shapes(fails, text: str, faults: list[str]) -> None:
    """A part of the wrong shape is named once, with the shape it should have."""
    part = text.split(":", maxsplit=1)[0]
    found = [fault.split(": ", 1)[1] for fault in fails(text)]
    assert [fault for fault in found if f"'{part}'" in fault] == faults


def test_words_that_yaml_once_took_for_others(passes, good) -> None:
    """`on`, `no` and `1` are plain names of gears, as written."""
    spec = passes(good.replace("steady", "no").replace("press:", "on:").replace("- press", "- on"))
    assert list(spec.gears) == ["on", "no"]
    assert list(passes(good.replace("steady", "1")).gears) == ["press", "1"]
