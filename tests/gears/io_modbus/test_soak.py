"""At full rate with random faults. FLUXRIG_SOAK_S says for how many seconds; a short while if not."""

import asyncio
import gc
import os
import random
from pathlib import Path

import pytest

from tests.gears.io_modbus.peers import FaultProxy, start_server
from tests.gears.io_modbus.test_fault_proxy import FATAL, assert_no_wrong_value, good

SOAK_S = float(os.environ.get("FLUXRIG_SOAK_S", "3"))
GROWTH_MIB = 8


def rss_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def state():
    """Tasks, open files, memory."""
    gc.collect()
    return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir())), rss_mib()


@pytest.mark.timeout(SOAK_S + 120)
async def test_nothing_grows_and_nothing_is_wrong(poll):
    """Tasks, files and memory are in the end what they were after the first third, every value is that of its
    own register, and both units are well when the faults are over."""
    server, port = await start_server(1, 2)
    for unit in (1, 2):
        await server.async_setValues(unit, 3, 0, [1000 * unit + n for n in range(200)])
    proxy = FaultProxy(port)
    await proxy.start()
    dice = random.Random(3)
    faults = [fault for name, fault in FATAL.items() if name not in ("half open", "late")]
    tags = {f"r{n}": {"at": f"holding/{n}"} for n in range(0, 200, 3)}
    devices = {f"u{unit}": {"unit": unit, "tags": tags} for unit in (1, 2)}
    rig = await poll(proxy.own_port, {}, devices=devices, every="5ms", response_timeout="100ms")
    values = 0

    async def for_a_while(seconds, share):
        nonlocal values
        proxy.fault = lambda unit, answer: dice.choice(faults)(answer) if dice.random() < share else answer
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(min(0.5, seconds))
            assert_no_wrong_value(rig)
            values += sum(len(message.data) for message in good(rig.out))
            rig.out.clear()
            rig.bench.receipts.clear()
            rig.losses.clear()
            rig.bench.emitted["error"].clear()
            proxy.requests.clear()

    await for_a_while(SOAK_S / 3, 0.02)
    await for_a_while(0.7, 0)
    tasks, files, memory = state()
    await for_a_while(SOAK_S * 2 / 3, 0.02)
    await for_a_while(0.7, 0)
    await rig.until_true(lambda: {message.uns[-2:] for message in good(rig.out)} == {"u1", "u2"})
    assert values > 0
    now = state()
    print(f"{values:,} values in {SOAK_S:g} s: tasks, files, MiB {tasks, files, memory} and then {now}")
    assert now[0] <= tasks + 4
    assert now[1] <= files + 4
    assert now[2] <= memory + GROWTH_MIB
    await rig.stop()
    await proxy.stop()
    await server.shutdown()
