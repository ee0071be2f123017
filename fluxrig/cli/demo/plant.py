"""A hydraulic press behind a Modbus TCP server: `python -m fluxrig.cli.demo.plant --port 5020`.

| register   | type          | value                                                                |
|------------|---------------|----------------------------------------------------------------------|
| coil/0     | bool          | running: six seconds on, one second off                              |
| discrete/0 | bool          | alarm: the pressure is above 7 bar                                   |
| holding/0  | float32, CDAB | pressure in bar: oscillates with each stroke, falls when stopped     |
| holding/10 | uint16        | speed in strokes/min: the setpoint that the SCADA station writes     |
| input/0    | float32       | temperature in °C: drifts towards what the speed heats it to         |
| input/2    | uint32        | strokes: counts up for ever                                          |
| input/4    | int16         | oil level in mm from nominal: sinks, and steps up when refilled      |

Prints JSON lines: first `{"listening": "tcp://127.0.0.1:5020"}`, then the readings four times a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import struct
from dataclasses import asdict, dataclass
from typing import Any, cast

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

UNIT = 1
STEP_S = 0.05
STEPS_PER_PRINT = 5

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
PRESSURE_AT, SPEED_AT = 0, 10
TEMPERATURE_AT, STROKES_AT, LEVEL_AT = 0, 2, 4


@dataclass
class Press:
    """The state of the press. `step` moves it on; the same steps give the same states."""

    pressure_bar: float = 5.0
    temperature_c: float = 38.0
    strokes: int = 120_000
    level_mm: int = 20
    running: bool = True
    alarm: bool = False
    speed_per_min: int = 60
    _time_s: float = 0.0
    _phase: float = 0.0

    def step(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass."""
        self._time_s += dt_s
        self.running = self._time_s % 7.0 < 6.0
        self.pressure_bar += (self._target_bar(dt_s) - self.pressure_bar) * min(1.0, 8.0 * dt_s)
        self.alarm = self.pressure_bar > 7.0
        heated_c = 30.0 + (0.25 * self.speed_per_min if self.running else 0.0)
        self.temperature_c += (heated_c - self.temperature_c) * min(1.0, 0.05 * dt_s)
        self.level_mm = 20 - int(self._time_s * 6.0) % 60

    def _target_bar(self, dt_s: float) -> float:
        if not self.running:
            return 1.0
        before = int(self._phase)
        self._phase += dt_s * self.speed_per_min / 60.0
        self.strokes = (self.strokes + int(self._phase) - before) % 2**32
        return 5.5 + 2.2 * math.sin(2.0 * math.pi * self._phase)

    def readings(self) -> dict[str, float | bool]:
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}


def float32(value: float, *, swap: bool = False) -> list[int]:
    """Two registers; `swap` puts the low word first (order CDAB)."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return [low, high] if swap else [high, low]


def _device() -> SimDevice:
    def registers(address: int, count: int) -> SimData:
        return SimData(address, count=count, values=0, datatype=DataType.REGISTERS)

    coils, discrete = (SimData(0, values=[False] * 16, datatype=DataType.BITS) for _ in range(2))
    return SimDevice(UNIT, simdata=([coils], [discrete], [registers(0, SPEED_AT + 1)], [registers(0, 5)]))


async def _publish(server: ModbusTcpServer, press: Press) -> None:
    """Write the state of the press into the server's registers."""
    inputs = [
        *float32(press.temperature_c),
        *divmod(press.strokes, 2**16),
        press.level_mm % 2**16,
    ]
    await server.async_setValues(UNIT, READ_COILS, 0, [press.running])
    await server.async_setValues(UNIT, READ_DISCRETE, 0, [press.alarm])
    await server.async_setValues(UNIT, READ_HOLDING, PRESSURE_AT, float32(press.pressure_bar, swap=True))
    await server.async_setValues(UNIT, READ_INPUT, TEMPERATURE_AT, inputs)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def serve(host: str, port: int) -> None:
    """Serve until cancelled. Port 0 takes a free one; the first line printed says which."""
    press = Press()
    server = ModbusTcpServer(_device(), address=(host, port))
    await server.serve_forever(background=True)
    try:
        bound = cast("asyncio.Server", server.transport).sockets[0].getsockname()[1]
        await server.async_setValues(UNIT, READ_HOLDING, SPEED_AT, [press.speed_per_min])
        await _publish(server, press)
        _say({"listening": f"tcp://{host}:{bound}"})
        await _move(server, press)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def _move(server: ModbusTcpServer, press: Press) -> None:
    loop, steps = asyncio.get_running_loop(), 0
    start_s = loop.time()
    while True:
        steps += 1
        await asyncio.sleep(start_s + steps * STEP_S - loop.time())
        [speed] = await server.async_getValues(UNIT, READ_HOLDING, SPEED_AT)
        press.speed_per_min = int(speed)
        press.step(STEP_S)
        await _publish(server, press)
        if steps % STEPS_PER_PRINT == 0:
            _say(press.readings())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fluxrig.cli.demo.plant", description="A press.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5020, help="0 takes a free one (default: %(default)s)")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.host, options.port))
    except KeyboardInterrupt:
        pass
    except RuntimeError as error:
        parser.exit(1, f"cannot listen on {options.host}:{options.port}: {error}\n")


if __name__ == "__main__":
    main()
