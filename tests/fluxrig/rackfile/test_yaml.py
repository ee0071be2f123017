"""YAML: read by the core schema, within bounds, with every place known."""

import time

import pytest

from fluxrig.errors import ConfigError
from fluxrig.rackfile.environment import Expansion
from fluxrig.rackfile.faults import Faults
from fluxrig.rackfile.nodes import MAX_DEPTH, MapNode, compose, data, resolve


def read(text: str):
    faults = Faults("f")
    node = compose(text, faults, Expansion({}))
    assert not faults, faults.error()
    return data(node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-07", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("-.inf", float("-inf")),
        *(
            (word, word)
            for word in ["on", "no", "yes", "12:30", "2026-01-01", "1_000", "0b1", "5%", "1.2.3", "."]
        ),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    """A plain word means what YAML 1.2 says, and nothing that YAML 1.1 added."""
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quoted_is_text() -> None:
    """Quotes keep a number a text."""
    assert read("a: '5'\nb: \"true\"\nc: |\n  5\n") == {"a": "5", "b": "true", "c": "5\n"}


def test_keys_are_text_as_written() -> None:
    """No key turns into a number, a truth value or nothing."""
    assert read("{1: a, no: b, true: c, 01: d, null: e}") == {
        "1": "a",
        "no": "b",
        "true": "c",
        "01": "d",
        "null": "e",
    }


def test_anchors_and_merges() -> None:
    """Anchors, aliases and merged defaults work; what stands beside a merge wins."""
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}\nd: *a\n"
    expected = {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2, "z": 4},
        "d": {"x": 1, "y": 2},
    }
    assert read(text) == expected


def test_places() -> None:
    """Lines and columns count from 1, columns in characters."""
    node = compose("é: 1\nb: {ö: [x]}\n", Faults("f"), Expansion({}))
    assert isinstance(node, MapNode)
    inner = node.values["b"]
    assert isinstance(inner, MapNode)
    assert (inner.keys["ö"].line, inner.keys["ö"].column, inner.values["ö"].mark.column) == (2, 5, 8)


REFUSED = {
    "a tab": ("a:\n\t- b", "2:1: not YAML: …; indent with spaces"),
    "two colons": ("a: b: c", "1:5: not YAML: …; put quotes around a text with"),
    "a variable in braces": ("a: {b: ${X}}", "1:9: not YAML: …; put quotes around a ${…} inside"),
    "an open bracket": ("a: [1,\nb: 2\n", "not YAML"),
    "no anchor": ("a: *b", "1:4: the alias *b has no finished anchor &b before it"),
    "an alias of itself": ("a: &a [*a]", "1:8: the alias *a has no finished anchor &a before it"),
    "a tag": ("a: !!python/object:os.system x", "1:4: YAML tags such as 'tag:yaml.org,2002:python/object"),
    "a key that is a list": ("? [a]\n: 1\n", "1:3: a key is a plain word"),
    "a key that is an alias": ("a: &x 1\n*x : 2\n", "2:1: a key is a plain word"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", "3:1: 'a' is already given at line 1; keep one of them"),
    "a key twice, once quoted": ("1: a\n'1': b\n", "2:1: '1' is already given at line 1"),
    "a merge of no mapping": ("a: {<<: 5}", "1:5: '<<' takes an alias of a mapping"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1: a Rack file is one YAML document"),
    "a control character": ("a: b\x07", "1:5: the control character U+0007 is not allowed; remove it"),
    "a directive": ("%YAML 1.1\n---\na: 1\n", "1:1: YAML directives have no meaning here; remove the line"),
    "too deep": ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), f"nested more than {MAX_DEPTH} deep"),
    "very deep": ("[" * 100_000, f"nested more than {MAX_DEPTH} deep"),
    "very deep keys": ("? " * 100_000, f"nested more than {MAX_DEPTH} deep"),
}


@pytest.mark.parametrize(("text", "fault"), REFUSED.values(), ids=REFUSED)
def test_refused(fails, text: str, fault: str) -> None:
    """What is no YAML, or no YAML for a Rack file, gets a fault that says what to do."""
    parts = fault.split("…")
    assert any(all(part in found for part in parts) for found in fails(text))


def test_aliases_that_explode(fails) -> None:
    """A billion laughs are refused before anything is built of them."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "more than 250,000 values once its aliases are expanded" in fails("\n".join(lines))[0]


def test_merges_that_explode(fails) -> None:
    """Merged mappings count like what they copy."""
    big = ", ".join(f"k{n}: 1" for n in range(5000))
    text = f"a: &a {{{big}}}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(10_000))
    assert "values once its aliases are expanded" in fails(text)[0]


def test_not_utf8(fails) -> None:
    """Bytes that are no UTF-8 are named with their place."""
    assert fails("a: é\nb: ".encode() + b"\xe9") == ["2:4: not UTF-8 (byte 0xe9); save the file as UTF-8"]
    assert "not UTF-8" in fails("rack: a".encode("utf-16"))[0]


def test_a_byte_order_mark_is_fine(passes, good) -> None:
    """Editors on Windows put a mark before the text and CR before LF: both are fine."""
    assert passes(b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode())


def test_too_big(fails) -> None:
    """More than 1 MiB is refused by its size."""
    assert fails(b" " * (1 << 20) + b"a") == [
        "0:0: the file has 1,048,577 bytes; a Rack file has at most 1,048,576"
    ]


def test_ten_thousand_tags(passes, good) -> None:
    """A Rack of ten thousand tags fits the bounds."""
    tags = "".join(f"      tag_{n}: {{at: holding/{n}, type: float32, scale: 0.1}}\n" for n in range(10_000))
    before = time.perf_counter()
    assert len(passes(good.replace("  steady", tags + "  steady")).gears["press"].config.tags) == 10_001
    print(f"{time.perf_counter() - before:.2f} s")


def test_stop_carries_what_was_found() -> None:
    """A fault after which nothing can be read still comes with those before it."""
    with pytest.raises(ConfigError) as caught:
        compose("a: 1\na: 2\nb: [", Faults("f"), Expansion({}))
    assert len(caught.value.faults) == 2
