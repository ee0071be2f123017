"""OpenTelemetry metrics of polling.

| instrument | unit | per |
|---|---|---|
| `fluxrig.modbus.jitter` | s, how late a poll began that had nothing to wait for | gear, device, every |
| `fluxrig.modbus.latency` | s, from a request to its answer | gear, device |
| `fluxrig.modbus.requests`, `.failures` | requests; those without a right answer | gear, device |
| `fluxrig.modbus.overruns` | polls that outlasted the next tick | gear, device, every |
| `fluxrig.modbus.skipped` | ticks without a poll | gear, device, every |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.metrics import Meter, get_meter

JITTER_S: Final = (
    5e-5,
    1e-4,
    2e-4,
    3e-4,
    5e-4,
    7e-4,
    1e-3,
    1.5e-3,
    2e-3,
    3e-3,
    5e-3,
    0.01,
    0.02,
    0.05,
    0.1,
    1.0,
)
LATENCY_S: Final = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """The instruments of one gear."""

    def __init__(self, meter: Meter | None = None) -> None:
        meter = meter or get_meter("fluxrig.gears.io_modbus")
        self.jitter = meter.create_histogram(
            "fluxrig.modbus.jitter", "s", "how late polls begin", explicit_bucket_boundaries_advisory=JITTER_S
        )
        self.latency = meter.create_histogram(
            "fluxrig.modbus.latency", "s", "request to answer", explicit_bucket_boundaries_advisory=LATENCY_S
        )
        self.requests = meter.create_counter("fluxrig.modbus.requests", "{request}")
        self.failures = meter.create_counter("fluxrig.modbus.failures", "{request}")
        self.overruns = meter.create_counter("fluxrig.modbus.overruns", "{poll}")
        self.skipped = meter.create_counter("fluxrig.modbus.skipped", "{tick}")


Attributes = Mapping[str, str]
