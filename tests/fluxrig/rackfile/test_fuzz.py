"""Whatever a file holds, it becomes a Rack or a ConfigError, and nothing else."""

import contextlib
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fluxrig.catalog import Catalog, installed
from fluxrig.cli.reference import settings as settings_of_kind
from fluxrig.errors import ConfigError, Fault
from fluxrig.rackfile import RackSpec, parse

BOUNDED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEYS = [
    "rack",
    "uns",
    "snake",
    "gears",
    "wires",
    "mixer",
    "kind",
    "wire",
    "queue",
    "when_full",
    "lane",
    "tags",
]
NAMES = ["poll", "pass", "sink", "press", "steady", "uplink", "endpoint", "every", "at", "type", "holding/0"]
SCALARS = [
    "float32",
    "100ms",
    "5",
    "true",
    "null",
    "->",
    ".",
    "${X}",
    "${Y:-1}",
    "'",
    '"',
    "|\n",
    "\t",
    "\x85",
    "\x00",
]
MARKS = [
    "&a ",
    "*a",
    "<<",
    "!!int ",
    "- ",
    ": ",
    ":\n  ",
    "\n",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "? ",
    "---\n",
    "#",
    "%",
    "@",
]
WORDS = [*KEYS, *NAMES, *SCALARS, *MARKS, "\ufeff", "é", "\U0001f600", "`"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner)
    ),
    max_leaves=12,
)


@pytest.fixture
def outcome(catalog: Catalog) -> Callable[[str | bytes], None]:
    """Parse, and look at the faults if there are any."""

    def attempt(content: str | bytes) -> None:
        faults: Sequence[Fault] = ()
        try:
            assert isinstance(parse(content, catalog, {"X": "5"}, file="f"), RackSpec)
        except ConfigError as error:
            faults = error.faults
        assert list(faults) == sorted(faults)
        assert all("\n" not in str(fault) and fault.message for fault in faults)

    return attempt


@BOUNDED
@given(st.binary(max_size=300))
def test_any_bytes(outcome, content: bytes) -> None:
    """Bytes of any kind."""
    outcome(content)


@BOUNDED
@given(st.text(max_size=300))
@example("\ud800")
def test_any_text(outcome, content: str) -> None:
    """Text of any kind."""
    outcome(content)


@BOUNDED
@given(st.lists(st.sampled_from(WORDS), max_size=60).map("".join))
def test_any_words_of_the_language(outcome, content: str) -> None:
    """What a file is made of, in any order."""
    outcome(content)


@BOUNDED
@given(st.data())
def test_a_good_file_with_a_piece_changed(outcome, good: str, data: st.DataObject) -> None:
    """A good file with any piece replaced by another."""
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 40)))
    outcome(good[:start] + data.draw(st.sampled_from(WORDS) | st.text(max_size=5)) + good[end:])


@BOUNDED
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("rack", "uns", "snake", "gears", "wires"), VALUES)))
def test_any_shape(outcome, content: dict[str, object]) -> None:
    """Values of any shape at every place."""
    outcome(json.dumps(content))


@BOUNDED
@given(st.dictionaries(st.sampled_from(["a", "b", "1"]), st.dictionaries(st.sampled_from(WORDS), VALUES)))
def test_any_gear(outcome, gears: dict[str, dict[str, object]]) -> None:
    """Gears with settings of any shape, of kinds that there are."""
    named = {name: {**settings, "kind": "poll"} for name, settings in gears.items()}
    outcome(json.dumps({"rack": "r", "uns": "u", "gears": named, "wires": ["a -> b", "b -> uplink"]}))


KINDS = installed()
TEXTS = [
    "tcp://h:1",
    "holding/1",
    "coil/0.1",
    "5%",
    "1s",
    "max",
    "tcp port 5",
    "host a",
    "float32",
    "ABCD",
    "sine",
    "lo",
]


@st.composite
def settings_of(draw: st.DrawFn, kind: str) -> dict[str, object]:
    """Settings by their right names, also in the parts of a gear, with values of any shape."""
    value = VALUES | st.sampled_from(TEXTS)
    names = [key for _, rows in settings_of_kind(KINDS[kind]) for key, *_ in rows]
    inner = st.dictionaries(st.sampled_from(names), value, max_size=6)
    keys = st.sampled_from(names)
    return draw(
        st.dictionaries(keys, value | inner | st.dictionaries(st.sampled_from("ab"), inner), max_size=6)
    )


@pytest.mark.parametrize("kind", list(KINDS))
@settings(BOUNDED, max_examples=40)
@given(data=st.data())
def test_any_settings_of_our_gears(kind: str, data: st.DataObject) -> None:
    """The checks of our own gears meet values of any shape, and raise nothing but what makes a fault."""
    gear = {**data.draw(settings_of(kind)), "kind": kind}
    content = {"rack": "r", "uns": "u", "gears": {"a": gear}, "wires": ["a -> uplink"]}
    with contextlib.suppress(ConfigError):
        parse(json.dumps(content), KINDS)
