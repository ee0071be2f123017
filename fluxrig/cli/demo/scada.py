"""A SCADA station that polls the press on its own: `python -m fluxrig.cli.demo.scada --port 5020`.

It talks from an address of its own, 127.0.0.2, as a station on the plant network would. Ten times a second
it reads all that the press has. Now and then it writes the speed, and now and then it asks for a register
that is not there, as forgotten lines in SCADA configurations do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from fluxrig.cli.demo.plant import SPEED_AT, UNIT

STATION = "127.0.0.2"
POLL_S = 0.1
POLLS_PER_WRITE = 20
POLLS_PER_MISTAKE = 15
SPEEDS_PER_MIN = (60, 90, 75, 120)
NOT_THERE = 4000


async def poll_for_ever(host: str, port: int) -> None:
    """Poll, and connect again when the press went away."""
    while True:
        client = AsyncModbusTcpClient(
            host, port=port, source_address=(STATION, 0), reconnect_delay=0, timeout=1, retries=0
        )
        # A press that is away is no reason to stop: a station tries again.
        with contextlib.suppress(ModbusException), contextlib.closing(client):
            if await client.connect():
                await _poll(client)
        await asyncio.sleep(1)


async def _poll(client: AsyncModbusTcpClient) -> None:
    loop, speeds = asyncio.get_running_loop(), itertools.cycle(SPEEDS_PER_MIN)
    start_s = loop.time()
    for poll in itertools.count(1):
        await client.read_coils(0, count=1, device_id=UNIT)
        await client.read_discrete_inputs(0, count=1, device_id=UNIT)
        await client.read_holding_registers(0, count=2, device_id=UNIT)
        await client.read_input_registers(0, count=5, device_id=UNIT)
        if poll % POLLS_PER_WRITE == 0:
            await client.write_register(SPEED_AT, next(speeds), device_id=UNIT)
        if poll % POLLS_PER_MISTAKE == 0:
            await client.read_holding_registers(NOT_THERE, device_id=UNIT)
        await asyncio.sleep(start_s + poll * POLL_S - loop.time())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fluxrig.cli.demo.scada", description="Polls the press.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5020, help="the press's port (default: %(default)s)")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(poll_for_ever(options.host, options.port))


if __name__ == "__main__":
    main()
