"""Against libmodbus, an implementation that shares nothing with pymodbus."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxrig.testing import context
from gears.io_modbus.config import Config
from gears.io_modbus.gear import IoModbus
from tests.gears.io_modbus.test_round_trip import plants, same

SOURCE = Path(__file__).with_name("libmodbus_server.c")


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Build and start the server, or skip with the reason."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build a server of libmodbus with")
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    places = [f"-I{root}/include/modbus" for root in ("/usr", "/usr/local")]
    command = [compiler, *places, str(SOURCE), "-o", str(program), "-lmodbus"]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    if built.returncode:
        pytest.skip("libmodbus is not installed (Debian: libmodbus-dev)")
    server = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
    yield int(server.stdout.readline())
    server.kill()
    server.communicate()


async def test_all_tables_are_read(port, poll):
    """Coils, discrete inputs, input and holding registers in one poll, and the last address there is."""
    tags = {
        "c": {"at": "coil/7"},
        "d": {"at": "discrete/8"},
        "i": {"at": "input/399"},
        "h": {"at": "holding/5"},
        "wide": {"at": "holding/6", "type": "uint32"},
        "gone": {"at": "holding/400"},
    }
    rig = await poll(port, tags)
    message = await rig.until(lambda message: message.data["h"] is not None)
    assert message.data == {
        "c": True,
        "d": False,
        "i": 2399,
        "h": 1005,
        "wide": (1006 << 16) + 1007,
        "gone": None,
    }
    assert message.meta["quality.gone"] == "bad:illegal_data_address"


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(plants(), st.booleans())
def test_what_is_written_is_what_is_read(port, plant, single):
    """Every type, order and scale, by functions 5, 6, 15, 16 and 22."""
    asyncio.run(play(port, *plant, single))


async def play(port, config, values, single):
    values_of = {"endpoint": f"tcp://127.0.0.1:{port}", "tags": config, "single_writes": single}
    gear = IoModbus(Config.model_validate(values_of), context("gear"))
    accounts = (await gear.process((context("operator").message(values),), "in")).ports["out"]
    assert {each.data["status"] for each in accounts} == {"written"}
    readings = await gear.groups[0].poller.poll(gear.units[""].read, 0)
    for name, value in values.items():
        assert same(readings.values[name], value) or same(float(readings.values[name]), float(value))
    await gear.close()
