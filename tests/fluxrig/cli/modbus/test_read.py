"""`fluxrig modbus read` against a pymodbus server."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.cli.modbus.guess import guesses
from fluxrig.cli.modbus.read import in_short


def words(form, value):
    data = struct.pack(form, value)
    return struct.unpack(f">{len(data) // 2}H", data)


def test_values_of_a_type_and_order(plant, fluxrig):
    """Each value is shown by its address, with the registers that it comes from."""
    first, second = words(">f", 4.2), words(">f", -1.5)
    plant.put("holding", 0, first[1], first[0], second[1], second[0])
    ran = fluxrig("read", plant.url, "holding/0", "--type", "float32", "--order", "CDAB", "--count", 2)
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["holding/0", "4.2", "0x6666", "0x4086"],
        ["holding/2", "-1.5", "0x0000", "0xbfc0"],
    ]


def test_json_has_exact_values(plant, fluxrig):
    """--json gives one document with the values as they are, not shortened."""
    plant.put("holding", 0, *words(">f", 4.2))
    ran = fluxrig("read", plant.url, "holding/0", "-t", "float32", "--json")
    assert json.loads(ran.out) == {
        "endpoint": plant.url,
        "unit": 1,
        "values": [{"at": "holding/0", "value": 4.199999809265137, "registers": ["0x4086", "0x6666"]}],
    }


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (("holding/0",), 0xFF38),
        (("holding/0", "-t", "int16", "--scale", "0.1"), -20.0),
        (("holding/0", "-t", "int16", "--scale", "0.5", "--offset", "10"), -90.0),
        (("holding/0.3",), True),
        (("holding/0.0",), False),
        (("holding/1", "--address-base", "1"), 0xFF38),
        (("40001",), 0xFF38),
        (("holding/1", "-t", "string", "--length", "4"), "ABC"),
        (("coil/2",), True),
        (("discrete/2",), False),
        (("input/3", "-t", "bcd16"), 1234),
    ],
)
def test_every_kind_of_place(plant, fluxrig, options, value):
    """Tables, bits, references, types, scale, offset and address base mean what they do in a Rack file."""
    plant.put("holding", 0, 0xFF38, 0x4142, 0x4300)
    plant.put("coil", 2, True)
    plant.put("input", 3, 0x1234)
    ran = fluxrig("read", plant.url, *options, "--json")
    assert [found["value"] for found in json.loads(ran.out)["values"]] == [value]


def test_another_unit(plant, fluxrig):
    """--unit chooses the device behind the endpoint."""
    plant.put("holding", 0, 7, unit=5)
    ran = fluxrig("read", plant.url, "holding/0", "--unit", 5, "--json")
    assert json.loads(ran.out)["values"][0]["value"] == 7


def test_bits_of_registers_go_on_in_the_next(plant, fluxrig):
    """After bit 15 comes bit 0 of the next register."""
    plant.put("holding", 0, 0x8000, 0x0001)
    ran = fluxrig("read", plant.url, "holding/0.14", "-n", 4)
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["holding/0.14", "false"],
        ["holding/0.15", "true"],
        ["holding/1.0", "true"],
        ["holding/1.1", "false"],
    ]


def test_more_than_one_request(plant, fluxrig):
    """What does not exist costs no neighbour its value, shows its reason, and makes the exit code 1."""
    plant.put("holding", 45, 1, 2, 3, 4, 5)
    plant.put("holding", 60, 6, 7)
    ran = fluxrig("read", plant.url, "holding/45", "--count", 17, "--json")
    values = [found["value"] for found in json.loads(ran.out)["values"]]
    assert values == [1, 2, 3, 4, 5, *[None] * 10, 6, 7]
    assert {found.get("reason") for found in json.loads(ran.out)["values"]} == {None, "illegal_data_address"}
    assert ran.code == 1
    assert "10 of 17" in ran.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("{url}", "holding/55"), 1, "illegal_data_address"),
        (("{url}", "hodling/0"), 2, "did you mean holding"),
        (("{url}", "holding/0", "--type", "float23"), 2, "float32"),
        (("{url}", "holding/0", "--order", "ABDC"), 2, "ABCD"),
        (("{url}", "holding/65535", "--count", "2"), 2, "end beyond"),
        (("{url}", "coil/0", "--type", "int16"), 2, "one bit"),
        (("{url}", "holding/0", "--type", "string"), 2, "length"),
        (("{url}", "coil/0", "--guess"), 2, "nothing to guess"),
        (("{url}", "holding/0", "--expect", "3"), 2, "--guess"),
        (("tpc://127.0.0.1", "holding/0"), 2, "did you mean"),
        (("tcp://127.0.0.1:1", "holding/0"), 1, "check address"),
        (("{url}", "holding/0", "--unit", "9", "--timeout", "100ms"), 1, "unit 9"),
    ],
)
def test_errors_say_what_to_do(plant, fluxrig, options, code, said):
    """Wrong use exits with 2, a device that does not answer as asked with 1, and never with a traceback."""
    ran = fluxrig("read", *[option.format(url=plant.url) for option in options])
    assert (ran.code, ran.out) == (code, "")
    assert said in " ".join(ran.err.split())
    assert "Traceback" not in ran.err


def test_a_guess_marks_what_the_display_says(plant, fluxrig):
    """--guess shows every type and order; --expect marks those near the display, as a Rack file has them."""
    high, low = words(">f", 4.2)
    plant.put("holding", 10, low, high)
    ran = fluxrig("read", plant.url, "holding/10", "--guess", "--expect", 4.2)
    assert ran.code == 0
    assert "4.2 <==" in ran.out
    assert "{at: holding/10, type: float32, order: CDAB}" in ran.out
    plant.put("holding", 10, 423)
    ran = fluxrig("read", plant.url, "holding/10", "--guess", "--expect", 42.3)
    assert "{at: holding/10, type: uint16, scale: 0.1}" in ran.out


def test_a_guess_reads_what_there_is(plant, fluxrig):
    """At the end of a table fewer registers are read, and types that need more are left out."""
    plant.put("holding", 49, 0x4142)
    document = json.loads(fluxrig("read", plant.url, "holding/49", "--guess", "--json").out)
    assert document["registers"] == ["0x4142"]
    types = {guess["type"] for guess in document["guesses"]}
    assert {"int16", "uint16", "float16", "string"} <= types
    assert not types & {"float32", "int64"}
    assert {"type": "string", "order": "ABCD", "value": "AB", "scale": None} in document["guesses"]


@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]),
)
def test_the_right_guess_is_among_them(value, order):
    """Whatever float32 stands there in whatever order, one guess is it."""
    data = struct.pack(">f", value)
    turned = {
        "ABCD": data,
        "DCBA": data[::-1],
        "CDAB": data[2:] + data[:2],
        "BADC": data[1::-1] + data[:1:-1],
    }
    found = guesses(turned[order] + bytes(4))
    assert ("float32", order, value) in [(guess.type, guess.order, guess.value) for guess in found]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_short_form_means_the_same(value):
    """A float32 is shown with as few digits as still mean it."""
    shown = in_short(value)
    assert struct.unpack(">f", struct.pack(">f", float(shown))) == (value,)
    if abs(value) < 3e38:
        assert len(shown.lstrip("-").replace(".", "").partition("e")[0].strip("0")) <= 9
