"""One cycle of polling: the requests for the tags of one unit and interval, and how long they take."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from fluxrig.cli.modbus.device import Device, Target
from fluxrig.modbus.address import BIT_TABLES
from fluxrig.modbus.pdu import read_request
from fluxrig.modbus.plan import Block
from gears.io_modbus.config import Config
from gears.io_modbus.device import Device as PolledDevice
from gears.io_modbus.gear import terms_of

ASSUMED_S: Final = 0.01
"""What a device is taken to need for an answer, where nobody says or measures."""
_FRAME_BYTES: Final = {"rtu": 3, "ascii": 0, "mbap": 7}
"""What a frame adds to its PDU; ASCII is reckoned apart: two characters a byte, and five more."""
_BITS_PER_BYTE: Final = 11
"""Start, eight data bits, parity, stop."""


class Cycle:
    """The requests of one interval of one unit."""

    def __init__(
        self, gear: str, config: Config, device: PolledDevice, every_s: float, blocks: tuple[Block, ...]
    ) -> None:
        self.title = f"{gear}.{device.name}" if device.name else gear
        self.device = device
        self.every_s = every_s
        self.blocks = blocks
        self.endpoint = config.endpoints[0]
        self.target = Target(self.endpoint, terms_of(config), device.settings.response_timeout)
        self.cycle_s = 0.0
        self.basis = ""

    @property
    def touched(self) -> dict[str, int]:
        """Give how many registers and bits are read."""
        return {
            "registers": sum(block.count for block in self.blocks if block.table not in BIT_TABLES),
            "bits": sum(block.count for block in self.blocks if block.table in BIT_TABLES),
        }

    @property
    def wasted(self) -> dict[str, int]:
        """Give how many of them no tag asks for."""
        return {
            "registers": sum(block.wasted for block in self.blocks if block.table not in BIT_TABLES),
            "bits": sum(block.wasted for block in self.blocks if block.table in BIT_TABLES),
        }

    @property
    def summary(self) -> str:
        """Say it all in a line."""
        parts = [
            f"{self.touched[unit]:,} {unit}"
            + (f" ({self.wasted[unit]:,} wasted)" if self.wasted[unit] else "")
            for unit in ("registers", "bits")
            if self.touched[unit]
        ]
        tags = sum(len(block.tags) for block in self.blocks)
        plural = "" if len(self.blocks) == 1 else "s"
        return f"{len(self.blocks)} request{plural} touching {' and '.join(parts)}, for {tags:,} tags"

    @staticmethod
    def unit_of(block: Block) -> str:
        return "bits" if block.table in BIT_TABLES else "registers"

    def assume(self, latency_s: float, *, given: bool) -> None:
        """Reckon with one latency for each request."""
        self._take([latency_s + self._on_the_wire_s(block) for block in self.blocks])
        said = "as given" if given else "assumed, --measure asks the device"
        self.basis = f"{latency_s * 1e3:g} ms latency {said}"

    async def measure(self, device: Device) -> None:
        """Send each request once and reckon with what it took. Raises RefusedError or Lost."""
        took_s = []
        for block in self.blocks:
            what = f"reading {block}"
            answer = await device.do(
                self.device.unit, read_request(block.table, block.start, block.count), what
            )
            took_s.append((answer.answered_ns - answer.sent_ns) / 1e9)
        self._take(took_s)
        self.basis = f"{median(took_s) * 1e3:.1f} ms latency measured, the median of {len(took_s)} requests"

    def _take(self, took_s: list[float]) -> None:
        """Add the pauses to what the requests took."""
        silence_s = self.endpoint.serial.silence_s if self.endpoint.is_serial else 0.0
        pause_s = max(self.target.terms.pause_between_requests_s, silence_s)
        self.cycle_s = sum(took_s) + pause_s * len(took_s)

    def _on_the_wire_s(self, block: Block) -> float:
        """Give how long request and answer take on a serial line at its baud rate."""
        if not self.endpoint.is_serial:
            return 0.0
        request = read_request(block.table, block.start, block.count)
        bits = 0
        for pdu_bytes in (len(request.pdu), request.answer_size):
            size = pdu_bytes + _FRAME_BYTES[self.endpoint.framing]
            bits += (2 * (pdu_bytes + 2) + 3 if self.endpoint.framing == "ascii" else size) * _BITS_PER_BYTE
        return bits / self.endpoint.serial.baud

    def as_json(self) -> dict[str, Any]:
        """Give what programs read."""
        return {
            "gear": self.title,
            "endpoint": str(self.endpoint),
            "unit": self.device.unit,
            "every_s": self.every_s,
            "requests": [
                {
                    "table": block.table,
                    "start": block.start,
                    "count": block.count,
                    "wasted": block.wasted,
                    "tags": [tag.name for tag in block.tags],
                }
                for block in self.blocks
            ],
            "touched": self.touched,
            "wasted": self.wasted,
            "cycle_ms": round(self.cycle_s * 1e3, 3),
            "load": round(self.cycle_s / self.every_s, 4),
            "latency": self.basis,
        }


def cycles(gear: str, config: Config) -> Iterator[Cycle]:
    """Give the cycles of a gear: one for each unit and interval."""
    for device in config.units:
        for every_s, tags in device.intervals().items():
            yield Cycle(gear, config, device, every_s, device.plan(tags))
