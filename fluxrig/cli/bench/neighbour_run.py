"""The cases of `fluxrig bench neighbour`, each a whole Rack in processes of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fluxrig.cli.bench.neighbour_capture import write_capture
from fluxrig.cli.bench.neighbour_device import Device, off_us, percentiles
from fluxrig.cli.demo.children import Child, console_script
from fluxrig.gear import Context, Receipt
from fluxrig.message import FluxMsg

PERIOD_NS: Final = 10_000_000
CAPTURE_S: Final = 5
"""How much traffic the capture holds; it begins again at its end."""
WARM_UP_S: Final = 3.0

CASES: Final = {"alone": None, "same_process": "none", "isolated": "process"}
"""How the sniffer is isolated; None: there is none."""

_POLLER: Final = """
rack: neighbour
uns: bench
gears:
  press: {{kind: io_modbus, endpoint: "tcp://127.0.0.1:{port}", every: 10ms, tags: {{a: {{at: holding/0}}}}}}
"""
_SNIFFER: Final = """\
  tap: {{kind: network_sniffer, file: {capture}, replay: realtime, repeat: true, isolate: {isolate}}}
"""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The capture that is sniffed."""

    capture: Path
    messages_per_packet: float


def make_traffic(folder: Path, packets_per_s: int) -> Traffic:
    """Write a capture, and count what the sniffer makes of it when it has all the time it wants."""
    capture = folder / "traffic.pcap"
    packets = packets_per_s * CAPTURE_S
    write_capture(capture, packets, packets_per_s)
    return Traffic(capture, asyncio.run(_count(capture)) / packets)


async def _count(capture: Path) -> int:
    from gears.network_sniffer.config import Config
    from gears.network_sniffer.gear import NetworkSniffer

    messages = 0
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    settled.set_result(None)

    async def take(port: str, batch: Iterable[FluxMsg]) -> Receipt:  # noqa: ARG001 - as Emit has it
        nonlocal messages
        messages += len(tuple(batch))
        return settled

    gear = NetworkSniffer(Config(file=capture), Context("neighbour", "tap", "bench/tap"))
    await gear.open()
    try:
        await gear.run(take)
    finally:
        await gear.close()
    return messages


@dataclass(slots=True)
class Found:
    """What was measured of one case."""

    rounds_us: list[list[float]] = field(default_factory=list)
    """How far the time between two polls was from the period, round by round."""
    packets: float = 0.0
    elapsed_s: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Give the figures of all rounds together."""
        off_us = [off for found in self.rounds_us for off in found]
        packets_per_s = round(self.packets / self.elapsed_s)
        return {"polls": len(off_us), **percentiles(off_us), "sniffed_packets_per_s": packets_per_s}


def ratios(case: Found, alone: Found) -> list[float]:
    """Give p99 to p99 of the poller alone, round by round."""
    pairs = zip(case.rounds_us, alone.rounds_us, strict=True)
    return [round(percentiles(one)["p99_us"] / percentiles(other)["p99_us"], 2) for one, other in pairs]


def measure(case: str, traffic: Traffic, folder: Path, seconds: float, found: Found) -> None:
    """Run a Rack for so long after it has warmed up, and add what was seen of it to `found`."""
    isolate = CASES[case]
    place = Path(tempfile.mkdtemp(dir=folder))
    report = place / "report"
    with Device() as device:
        file = _write_rack_file(place / "rack.yaml", device.port, traffic, isolate)
        command = console_script("fluxrig", "run", file, "--state", place / "state", "--report", report)
        with Child(case.replace("_", " "), command, place) as rack:
            rack.wait_for("poll", lambda: device.arrivals_ns or None)
            if isolate:
                rack.wait_for("sniffed message", lambda: _sniffed(report) or None)
            _wait(rack, min(WARM_UP_S, seconds))
            first, sniffed, started_s = len(device.arrivals_ns), _sniffed(report), time.perf_counter()
            _wait(rack, seconds)
            last, more, ended_s = len(device.arrivals_ns), _sniffed(report), time.perf_counter()
    found.rounds_us.append(off_us(device.arrivals_ns[first:last], PERIOD_NS))
    found.packets += (more - sniffed) / traffic.messages_per_packet
    found.elapsed_s += ended_s - started_s


def _write_rack_file(file: Path, port: int, traffic: Traffic, isolate: str | None) -> Path:
    text = _POLLER.format(port=port)
    if isolate is not None:
        text += _SNIFFER.format(capture=traffic.capture, isolate=isolate)
    text += f"wires: [press -> uplink{', tap -> uplink' if isolate else ''}]\n"
    file.write_text(text, encoding="utf-8")
    return file


def _wait(rack: Child, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while (left_s := deadline_s - time.monotonic()) > 0:
        rack.check()
        time.sleep(min(left_s, 0.5))


def _sniffed(report: Path) -> int:
    """Give how many messages the sniffer has made."""
    try:
        gears = json.loads(report.read_text("utf-8"))["gears"]
    except (OSError, ValueError):
        return 0
    return int(gears["tap"]["out"]) if "tap" in gears else 0
