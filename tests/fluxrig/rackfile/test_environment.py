"""Variables: filled in where values stand, missing ones named, their values never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.rackfile.environment import Expansion

SECRET = "hunter2-topsecret"


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "one"),
        ("x${A}y${B}", "xoney2"),
        ("${A:-no}", "one"),
        ("${NONE:-some}", "some"),
        ("${EMPTY:-some}", "some"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$A $", "$A $"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    """Variables, defaults and the escape."""
    assert Expansion({"A": "one", "B": "2", "EMPTY": ""}).expand(text)[0] == expanded


@pytest.mark.parametrize("text", ["${}", "${1A}", "${A", "${A-b}", "${A.b}"])
def test_malformed(text: str) -> None:
    """A variable that is not well formed is refused with how to write it."""
    with pytest.raises(ValueError, match="write a variable as"):
        Expansion({"A": "one"}).expand(text)


def test_no_variable_in_a_value_is_expanded() -> None:
    """What a variable holds is taken as it is."""
    assert Expansion({"A": "${B}", "B": "x"}).expand("${A}")[0] == "${B}"


def test_expansion_is_bounded() -> None:
    """A file cannot grow without end through its variables."""
    expansion = Expansion({"A": "x" * 100_000})
    with pytest.raises(ValueError, match="expand to more than 1 MiB"):
        expansion.expand("${A}" * 20)


@given(st.text())
def test_text_without_dollar_is_kept(text: str) -> None:
    """A text without $ stays as it is."""
    plain = text.replace("$", "")
    assert Expansion({}).expand(plain) == (plain, {})


def test_numbers_from_the_environment(passes, good) -> None:
    """A plain value is read again after it is filled in; a quoted one stays text."""
    spec = passes(good.replace("every: 100ms", 'unit: ${UNIT}\n    every: "${EVERY:-2s}"'), UNIT="7")
    assert (spec.gears["press"].config.unit, spec.gears["press"].config.every) == (7, 2.0)


def test_a_missing_variable_is_one_fault(fails, good) -> None:
    """A variable that is not set is named where it stands, and nothing else is said of that value."""
    faults = fails(good.replace("100ms", "${EVERY}").replace("holding/0", '"${AT}"'))
    assert faults == [
        "7:12: the environment variable EVERY is not set; set it, or write ${EVERY:-default}",
        "9:22: the environment variable AT is not set; set it, or write ${AT:-default}",
    ]


@pytest.mark.parametrize("key", ["every", "unit", "endpoint2", "low", "kind", "uns", "process_timeout"])
@pytest.mark.parametrize("secret", [SECRET, "hunter2 topsecret " * 30, "tcp://user:hunter2@topsecret"])
def test_no_fault_shows_a_value(fails, good, key: str, secret: str) -> None:
    """A secret in a variable never stands in a fault, wherever it was put."""
    text = good.replace("every: 100ms", f"{key}: ${{SECRET}}").replace("holding/0", '"${SECRET}"')
    text = text.replace("lyon", "${SECRET}").replace("-> steady", "-> ${SECRET}")
    printed = "\n".join(fails(text, SECRET=secret))
    assert "hunter2" not in printed
    assert "topsecret" not in printed


def test_a_value_that_is_no_text(fails, good) -> None:
    """Bytes in the environment that are no UTF-8 are a fault, not a crash."""
    assert (
        "the environment variable X is not UTF-8 text" in fails(good.replace("100ms", "${X}"), X="\udcff")[0]
    )
