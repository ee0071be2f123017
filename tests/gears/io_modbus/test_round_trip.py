"""Every type, order, scale and offset through a real server and back."""

import asyncio
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxrig.modbus.value_type import FLOAT_TYPES, FORMS, PART_TYPES
from fluxrig.testing import context
from gears.io_modbus.config import Config
from gears.io_modbus.gear import IoModbus
from tests.fluxrig.modbus.strategies import raw_values, tags, texts
from tests.gears.io_modbus.peers import start_server


@st.composite
def plants(draw):
    """Tags side by side, each with a value that it can hold."""
    config, values, at = {}, {}, 0
    for n in range(draw(st.integers(1, 25))):
        tag = draw(tags(f"t{n}", ("holding", "coil"), st.just(at)))
        place = str(tag.at)
        entry = {"at": place, "type": tag.type, "order": tag.order, "scale": tag.scale, "offset": tag.offset}
        entry = {key: value for key, value in entry.items() if value is not None}
        if tag.type in PART_TYPES or tag.type == "string":
            entry.pop("order") if tag.type != "string" else None
        if tag.type == "string":
            entry["length"] = tag.length
        config[tag.name] = {**entry, "write": True, "read_back": draw(st.booleans())}
        values[tag.name] = draw(value_for(tag))
        at += tag.size + draw(st.integers(0, 3))
    return config, values


def value_for(tag):
    if tag.type == "bool":
        return st.booleans()
    if tag.type == "string":
        return texts.map(lambda text: fitting(text, tag.length))
    raw = raw_values(tag.type)
    if tag.scale is None and tag.offset is None:
        return raw
    near = raw.filter(lambda number: abs(number) < 2**30)
    return near.map(lambda number: number * (tag.scale or 1) + (tag.offset or 0)).filter(
        lambda value: tag.type not in FLOAT_TYPES or fits_float(value, tag)
    )


def fits_float(value, tag):
    return abs((value - (tag.offset or 0)) / (tag.scale or 1)) < (
        6e4 if FORMS[tag.type].code == "e" else 1e30
    )


def fitting(text, length):
    while len(text.encode()) > length:
        text = text[:-1]
    return text.rstrip(" ")


def same(one, two):
    if isinstance(one, float) and isinstance(two, float | int):
        return math.isclose(one, two, rel_tol=2e-3, abs_tol=0.06)
    return one == two and type(one) is type(two)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plants(), st.booleans())
def test_what_is_written_is_what_is_read(plant, single):
    """Written through one gear, read by another that never saw the values: the same, and the same type; with
    and without functions 5 and 6, coalesced or not, read back or not."""
    config, values = plant
    asyncio.run(play(config, values, single))


async def play(config, values, single):
    server, port = await start_server(1)
    try:
        writer, reader = (
            IoModbus(
                Config.model_validate(
                    {"endpoint": f"tcp://127.0.0.1:{port}", "tags": config, "single_writes": single}
                ),
                context(name),
            )
            for name in ("writer", "reader")
        )
        ask = context("operator").message(values)
        accounts = (await writer.process((ask,), "in")).ports["out"]
        assert {each.data["tag"]: each.data["status"] for each in accounts} == dict.fromkeys(
            values, "written"
        )
        await reader.open()
        readings = await reader.groups[0].poller.poll(reader.units[""].read, 0)
        assert readings.lost is None
        assert not readings.reasons
        for name, value in values.items():
            assert same(readings.values[name], value) or same(float(readings.values[name]), float(value))
        for each in accounts:
            assert same(each.data["new"], readings.values[each.data["tag"]])
        await writer.close()
        await reader.close()
    finally:
        await server.shutdown()


@pytest.mark.parametrize("bits", [0xABCD, 0x0000, 0xFFFF])
async def test_parts_of_one_register_are_written_apart(bits, poll):
    """A bit and a byte are written without touching the rest of their register."""
    server, port = await start_server(1)
    await server.async_setValues(1, 3, 0, [bits])
    config = {
        "bit": {"at": "holding/0.15", "write": True},
        "low": {"at": "holding/0", "type": "uint8_low", "write": True},
    }
    rig = await poll(port, config)
    ask = context("operator").message({"bit": not bits >> 15, "low": 0x42})
    await rig.gear.process((ask,), "in")
    assert await server.async_getValues(1, 3, 0) == [(bits ^ 0x8000) & 0xFF00 | 0x42]
    await rig.stop()
    await server.shutdown()
