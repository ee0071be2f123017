"""The press moves as a press does, and a Modbus client reads what it shows."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from fluxrig.cli.demo.children import Child, python_module
from fluxrig.cli.demo.plant import SPEED_AT, STEP_S, Press, float32
from fluxrig.cli.demo.scada import NOT_THERE, SPEEDS_PER_MIN
from fluxrig.errors import FluxrigError


def states(seconds: float) -> list[Press]:
    press, seen = Press(), []
    for _ in range(int(seconds / STEP_S)):
        press.step(STEP_S)
        seen.append(replace(press))
    return seen


def test_every_value_moves_within_a_short_demo() -> None:
    """Ten seconds show a drift, a step, an oscillation, a count, a stop and an alarm."""
    seen = states(10)
    temperatures = [press.temperature_c for press in seen]
    assert temperatures[: int(5 / STEP_S)] == sorted(temperatures[: int(5 / STEP_S)])
    assert max(press.level_mm for press in seen) > 0 > min(press.level_mm for press in seen)
    assert any(after.level_mm - before.level_mm > 40 for before, after in pairwise(seen))
    assert seen[-1].strokes > seen[0].strokes
    assert {press.running for press in seen} == {press.alarm for press in seen} == {True, False}


def test_the_press_repeats_itself() -> None:
    """The same steps give the same states: nothing is drawn at random."""
    assert states(3) == states(3)


@pytest.mark.parametrize("value", [0.0, 1.5, -273.25, 1e30])
def test_float32_in_both_word_orders(value: float) -> None:
    """CDAB is ABCD with its two registers swapped."""
    abcd = float32(value)
    assert struct.unpack(">f", struct.pack(">HH", *abcd)) == struct.unpack(">f", struct.pack(">f", value))
    assert float32(value, swap=True) == abcd[::-1]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Child]:
    with Child("plant", python_module("fluxrig.cli.demo.plant", "--port", 0), tmp_path) as child:
        child.wait_for("listening socket", child.last_line)
        yield child


def port_of(plant: Child) -> int:
    return int(str(plant.first_line()["listening"]).rpartition(":")[2])


def test_a_client_reads_and_writes_the_press(plant: Child) -> None:
    """All four tables answer, the speed can be set, and what is not there is refused by exception 2."""
    with ModbusTcpClient("127.0.0.1", port=port_of(plant)) as client:
        assert len(client.read_holding_registers(0, count=2).registers) == 2
        temperature = struct.unpack(
            ">f", struct.pack(">HH", *client.read_input_registers(0, count=2).registers)
        )
        assert temperature[0] == pytest.approx(38, abs=2)
        assert client.read_coils(0, count=1).bits[0] is True
        assert not client.read_discrete_inputs(0, count=1).isError()
        assert not client.write_register(SPEED_AT, 90).isError()
        assert client.read_holding_registers(SPEED_AT, count=1).registers == [90]
        assert client.read_holding_registers(NOT_THERE, count=1).exception_code == 2


def test_the_station_polls_and_writes_the_press(plant: Child, tmp_path: Path) -> None:
    """The SCADA station, a process of its own, changes the speed that the press says it runs at."""
    with Child("scada", python_module("fluxrig.cli.demo.scada", "--port", port_of(plant)), tmp_path) as scada:

        def changed() -> bool | None:
            scada.check()
            line = plant.last_line() or {}
            return True if line.get("speed_per_min") in SPEEDS_PER_MIN[1:] else None

        plant.wait_for("new speed", changed)


def test_a_port_in_use_is_one_clear_line(plant: Child, tmp_path: Path) -> None:
    """The second press on a port says so and ends with 1."""
    port = port_of(plant)
    with (
        Child("second", python_module("fluxrig.cli.demo.plant", "--port", port), tmp_path) as second,
        pytest.raises(FluxrigError, match=rf"second ended with 1.*cannot listen on 127\.0\.0\.1:{port}"),
    ):
        second.wait_for("listening socket", second.last_line)
    assert "Traceback" not in second.log.read_text()
