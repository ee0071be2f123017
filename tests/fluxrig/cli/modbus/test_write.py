"""`fluxrig modbus write` against a pymodbus server."""

import importlib
import json
import struct

import pytest

writing = importlib.import_module("fluxrig.cli.modbus.write")


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        (("holding/0", "1234"), ("holding", 0, [1234])),
        (("holding/0", "0x10"), ("holding", 0, [16])),
        (("holding/0", "-12.5", "-t", "int16", "--scale", "0.1"), ("holding", 0, [65536 - 125])),
        (("holding/2", "4.25", "-t", "float32", "-o", "CDAB"), ("holding", 2, [0x0000, 0x4088])),
        (("holding/2", "70000", "-t", "uint32", "--multiple"), ("holding", 2, [1, 4464])),
        (("holding/6", "AB", "-t", "string", "--length", "4"), ("holding", 6, [0x4142, 0])),
        (("coil/3", "on"), ("coil", 3, [True])),
        (("coil/3", "true", "--multiple"), ("coil", 3, [True])),
        (("40011", "7", "--multiple"), ("holding", 10, [7])),
    ],
)
def test_what_is_written_is_there(plant, fluxrig, options, stored):
    """Each type and order lands in its registers, and the command shows old, new and what it read back."""
    ran = fluxrig("write", plant.url, *options, "--yes")
    assert ran.code == 0, ran.err
    table, at, registers = stored
    assert list(plant.get(table, at, len(registers))) == registers
    assert "->" in ran.err
    assert "now reads" in ran.out


def test_a_part_of_a_register_leaves_the_rest(plant, fluxrig):
    """A bit or a byte is written alone, by mask, or with --read-modify-write whole."""
    plant.put("holding", 0, 0xF0F0)
    assert fluxrig("write", plant.url, "holding/0.0", "on", "-y").code == 0
    assert plant.get("holding", 0) == [0xF0F1]
    assert fluxrig("write", plant.url, "holding/0", "0x55", "-t", "uint8_high", "-y").code == 0
    assert plant.get("holding", 0) == [0x55F1]
    assert fluxrig("write", plant.url, "holding/0.0", "off", "-y", "--read-modify-write").code == 0
    assert plant.get("holding", 0) == [0x55F0]


def test_json_tells_the_whole_story(plant, fluxrig):
    """--json gives old, new and what was read back."""
    plant.put("holding", 0, 5)
    ran = fluxrig("write", plant.url, "holding/0", 6, "--yes", "--json")
    said = {"at": "holding/0", "old": 5, "new": 6, "written": True, "read_back": 6}
    assert json.loads(ran.out) == {"endpoint": plant.url, "unit": 1, **said}


def test_nothing_is_written_unasked(plant, fluxrig):
    """Without --yes, and with nobody to ask, nothing is written."""
    assert fluxrig("write", plant.url, "holding/0", 6, "--json").code == 2
    assert fluxrig("write", plant.url, "holding/0", 6).code == 2
    assert plant.get("holding", 0) == [0]


def test_a_person_is_asked(plant, answer_a_prompt, monkeypatch):
    """A person sees old -> new; only a yes writes."""
    monkeypatch.setattr(writing, "_somebody_is_there", lambda: True)
    plant.put("holding", 0, 5)
    refused = answer_a_prompt("write", plant.url, "holding/0", 6, typed="n\n")
    assert (refused.exit_code, plant.get("holding", 0)) == (1, [5])
    assert "5 -> 6" in refused.output
    taken = answer_a_prompt("write", plant.url, "holding/0", 6, typed="y\n")
    assert (taken.exit_code, plant.get("holding", 0)) == (0, [6])


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("holding/55", "1"), 1, "illegal_data_address"),
        (("holding/0", "70000"), 2, "beyond"),
        (("holding/0", "1.5"), 2, "whole"),
        (("holding/0", "many"), 2, "no number"),
        (("coil/0", "maybe"), 2, "neither true nor false"),
        (("coil/0", "2"), 2, "neither true nor false"),
        (("input/0", "1"), 2, "can't be written"),
        (("discrete/0", "1"), 2, "can't be written"),
        (("holding/0", "ABCDE", "-t", "string", "--length", "4"), 2, "takes 5 bytes"),
        (("holding/0", "1", "--tpye", "int16"), 2, "--tpye"),
    ],
)
def test_errors_say_what_to_do(plant, fluxrig, options, code, said):
    """What does not fit is refused before anything is sent; what the device refuses is told in its words."""
    ran = fluxrig("write", plant.url, *options, "--yes")
    assert ran.code == code
    assert said in " ".join(ran.err.replace("│", "").split())
    assert plant.get("holding", 0) == [0]


def test_a_device_that_makes_another_value_of_it(fluxrig, plant, monkeypatch):
    """When something else is read back, the command says what, and exits with 1."""
    monkeypatch.setattr(writing, "READ_BACK_S", 0.05)
    monkeypatch.setattr(writing, "READ_BACK_PAUSE_S", 0.01)
    monkeypatch.setattr(writing.Job, "_write", _write_another)
    ran = fluxrig("write", plant.url, "holding/0", 6, "--yes")
    assert ran.code == 1
    assert "reads 0, not 6" in ran.err


async def _write_another(job, device):
    """A device that takes the write, and changes nothing."""


def test_float32_compares_as_float32(plant, fluxrig):
    """0.1 is not quite 0.1 in a float32, which is no reason to complain."""
    assert fluxrig("write", plant.url, "holding/0", "0.1", "-t", "float32", "-y").code == 0
    assert plant.get("holding", 0, 2) == list(struct.unpack(">HH", struct.pack(">f", 0.1)))
