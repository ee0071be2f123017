"""One case of `fluxrig bench poll`: devices and a Rack in processes of their own, watched from outside."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.bus import UNS, Consumer, Leaf, stream_state
from fluxrig.cli.bench.poll_case import (
    PHASES,
    RACK,
    Case,
    gear_name,
    rack_file,
    tag_name,
    to_facts,
    value,
)
from fluxrig.cli.bench.poll_timing import Poll, Timing
from fluxrig.cli.bench.poll_usage import usage
from fluxrig.cli.demo.children import Child, console_script, python_module
from fluxrig.codec import decode_sequence
from fluxrig.errors import FluxrigError
from fluxrig.message import TAGS, FluxMsg

SAMPLE_S: Final = 0.25
SETTLE_S: Final = 1.0
"""Between the first polls and the measuring: the Rack's start is not what is measured."""
LEAF_PROCESS: Final = "nats-server"
LONGEST_RECORD: Final = 256 << 20
_FETCH: Final = 200
_PATIENCE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one case took and gave."""

    case: Case
    seconds: float
    tags_per_s: float
    """Tags with the right value in the leaf's stream, of the time that was measured."""
    wrong_values: int
    missing_values: int
    rack_cpu_s: float
    leaf_cpu_s: float
    device_cores: float
    rack_rss_mib: float
    leaf_rss_mib: float
    timing: Timing

    @property
    def cores(self) -> float:
        """Of one core, Rack and leaf together."""
        return (self.rack_cpu_s + self.leaf_cpu_s) / self.seconds

    @property
    def rss_mib(self) -> float:
        return self.rack_rss_mib + self.leaf_rss_mib

    @property
    def cpu_s_per_million_tags(self) -> float:
        """0 where no tag came."""
        tags = self.tags_per_s * self.seconds
        return (self.rack_cpu_s + self.leaf_cpu_s) / tags * 1e6 if tags else 0.0


def run_case(case: Case, seconds: float, folder: Path) -> Measured:
    """Run one case in `folder`, which has to be new, and measure it for `seconds`."""
    folder.mkdir()
    device_command = python_module("fluxrig.cli.bench.poll_device", json.dumps(to_facts(case)))
    with Child("devices", device_command, folder) as devices:
        ports = devices.wait_for("ports", devices.first_line)["ports"]
        (folder / "rack.yaml").write_text(json.dumps(rack_file(case, ports)))
        options = (folder / "rack.yaml", "--state", folder / "state", "--log-level", "warning")
        with Child("rack", console_script("fluxrig", "run", *options), folder) as rack:
            devices.wait_for("polls", lambda: _polling(devices, rack))
            time.sleep(SETTLE_S)
            window, samples = _watch(rack, devices, seconds)
            rack.stop()
        devices.stop()
        record = devices.last_line(LONGEST_RECORD)
    stored = asyncio.run(_read(folder / "state" / "leaf"))
    return _judge(case, window, samples, record, stored)


def _polling(devices: Child, rack: Child) -> Any:
    rack.check()
    return (devices.last_line() or {}).get("polling")


@dataclass(frozen=True, slots=True)
class Window:
    """The time that was measured, on both clocks."""

    began_ns: int
    ended_ns: int
    steady_began_ns: int
    steady_ended_ns: int

    @property
    def seconds(self) -> float:
        return (self.steady_ended_ns - self.steady_began_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Samples:
    """What the processes took during the time that was measured; memory is the most that was seen."""

    rack_cpu_s: float
    leaf_cpu_s: float
    device_cpu_s: float
    rack_rss_bytes: int
    leaf_rss_bytes: int


def _watch(rack: Child, devices: Child, seconds: float) -> tuple[Window, Samples]:
    began_ns, steady_began_ns = time.time_ns(), time.monotonic_ns()
    first, device_first = usage(rack.pid), usage(devices.pid)
    seen = [first]
    while (left_s := seconds - (time.monotonic_ns() - steady_began_ns) / 1e9) > 0:
        time.sleep(min(SAMPLE_S, left_s))
        rack.check()
        devices.check()
        seen.append(usage(rack.pid))
    device_last = usage(devices.pid)
    window = Window(began_ns, time.time_ns(), steady_began_ns, time.monotonic_ns())
    return window, Samples(
        rack_cpu_s=_of_rack(seen[-1].cpu_s) - _of_rack(first.cpu_s),
        leaf_cpu_s=seen[-1].cpu_s.get(LEAF_PROCESS, 0.0) - first.cpu_s.get(LEAF_PROCESS, 0.0),
        device_cpu_s=sum(device_last.cpu_s.values()) - sum(device_first.cpu_s.values()),
        rack_rss_bytes=max(_of_rack(sample.rss_bytes) for sample in seen),
        leaf_rss_bytes=max(sample.rss_bytes.get(LEAF_PROCESS, 0) for sample in seen),
    )


def _of_rack(by_name: Mapping[str, Any]) -> Any:
    """Add up what is not the leaf's."""
    return sum(amount for name, amount in by_name.items() if name != LEAF_PROCESS)


async def _read(store: Path) -> list[FluxMsg]:
    """Give every reading in the leaf's stream, from its files."""
    messages: list[FluxMsg] = []
    async with Leaf(RACK, store) as leaf, await leaf.connect("bench") as bus:
        state = await stream_state(bus, UNS)
        consumer = Consumer(bus, UNS, "bench", state.first_seq)
        seq = state.first_seq - 1
        while seq < state.last_seq:
            batch = await consumer.fetch(_FETCH, _PATIENCE_S)
            if not batch:
                raise FluxrigError("the leaf does not give back what it stored; look into its log")
            messages += [
                message
                for stored in batch
                for message in decode_sequence(stored.payload)
                if message.schema == TAGS
            ]
            seq = batch[-1].seq
        await consumer.close()
    return messages


def _judge(
    case: Case, window: Window, samples: Samples, record: Mapping[str, Any], stored: Sequence[FluxMsg]
) -> Measured:
    right, wrong, missing = count(
        case, [message for message in stored if window.began_ns <= message.ts < window.ended_ns]
    )
    timing = Timing.together(Timing.of(_within(polls, window), case.period_ns) for polls in record["polls"])
    return Measured(
        case=case,
        seconds=window.seconds,
        tags_per_s=right / window.seconds,
        wrong_values=wrong,
        missing_values=missing,
        rack_cpu_s=samples.rack_cpu_s,
        leaf_cpu_s=samples.leaf_cpu_s,
        device_cores=samples.device_cpu_s / window.seconds,
        rack_rss_mib=samples.rack_rss_bytes / 2**20,
        leaf_rss_mib=samples.leaf_rss_bytes / 2**20,
        timing=timing,
    )


def _within(polls: Sequence[Sequence[int]], window: Window) -> list[Poll]:
    return [
        (began, ended) for began, ended in polls if window.steady_began_ns <= began < window.steady_ended_ns
    ]


def count(case: Case, messages: Sequence[FluxMsg]) -> tuple[int, int, int]:
    """Give how many tags have a value that their device had, one that it never had, and none."""
    allowed = {
        f"{RACK}/{gear_name(connection)}": {
            tag_name(tag): {value(connection, tag, phase) for phase in range(PHASES)}
            for tag in range(case.tags)
        }
        for connection in range(case.connections)
    }
    right = wrong = missing = 0
    for message in messages:
        data, values = message.data, allowed[message.src]
        for tag, legal in values.items():
            found = data.get(tag)
            if found is None:
                missing += 1
            elif found in legal:
                right += 1
            else:
                wrong += 1
    return right, wrong, missing
