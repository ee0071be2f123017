"""The measurements of `fluxrig bench snake`, each on servers of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.bus import UNS, NatsServer, stream_state
from fluxrig.bus.leaf import COMPRESSION
from fluxrig.cli.bench.snake_load import PATIENCE_S, Source, arrivals, check, wait_for
from fluxrig.cli.bench.snake_relay import relay
from fluxrig.cli.bench.snake_site import Member, Site, site
from fluxrig.errors import FluxrigError
from fluxrig.tasks import end

PACE_S: Final = 0.01
PACE_BATCH: Final = 10
"""The load under which latency is taken: a Rack that polls ten devices every 10 ms."""
WIRE_BATCHES: Final = 50
RACK_MESSAGES: Final = 2000
RACK_BATCH: Final = 100
"""What each of many Racks stores while the hub is down, and in which batches."""
SHARES: Final = {"p50": 0.5, "p99": 0.99}
_LOOK_S: Final = 0.05
_SETTLE_S: Final = 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `seconds` is how long the Rack sends live, and how long the hub is away."""

    seconds: float
    racks: int
    batch: int
    assets: int
    sync: str


async def measure(folder: Path, plan: Plan, tell: Tell) -> dict[str, Any]:
    """Measure all of it; `tell` hears what is being done. Data stays in `folder`."""
    found = await _one_rack(folder / "one", plan, tell)
    tell("bytes on the wire")
    plain = await _bytes_per_message(folder / "plain", plan, "off")
    compressed = await _bytes_per_message(folder / "compressed", plan, COMPRESSION)
    found |= {"bytes_per_msg": plain, "bytes_per_msg_compressed": compressed, "compression": COMPRESSION}
    if plan.racks:
        found |= await _many_racks(folder / "many", plan, tell)
    return found


async def _one_rack(folder: Path, plan: Plan, tell: Tell) -> dict[str, Any]:
    async with site(folder, sync=plan.sync) as place, place.rack("rack-1", sync=plan.sync) as rack:
        source = Source(rack, plan.assets)
        await source.store(plan.batch)
        await _arrived(place, [rack])
        async with peak_rss({"leaf": rack.leaf, "hub": place.hub}) as peak:
            tell(f"latency, {plan.seconds:g} s")
            latency = await _latency(place, rack, source, plan)
            tell(f"as much as goes, {plan.seconds:g} s")
            live = await _live(place, rack, source, plan)
            tell(f"an outage of {plan.seconds:g} s, and after it")
            catch_up = await _catch_up(place, rack, source, plan)
    return {
        "live_msgs_per_s": round(live),
        "catch_up_msgs_per_s": round(catch_up.msgs_per_s),
        "catch_up_ratio": round(catch_up.msgs_per_s / live, 2),
        "backlog_msgs": catch_up.messages,
        "back_after_s": round(catch_up.back_after_s, 2),
        "latency_ms": latency,
        "latency_at_msgs_per_s": round(PACE_BATCH / PACE_S),
        "leaf_rss_mib": round(peak["leaf"] / 2**20, 1),
        "hub_rss_mib": round(peak["hub"] / 2**20, 1),
    }


async def _latency(place: Site, rack: Member, source: Source, plan: Plan) -> dict[str, float]:
    """Give how long after the leaf the hub has stored a message, by the clock that both have."""
    starts = [(await stream_state(bus, UNS)).last_seq + 1 for bus in (rack.bus, place.bus)]
    await source.pace(plan.seconds, PACE_BATCH, PACE_S)
    await _arrived(place, [rack])
    parcels = (await stream_state(rack.bus, UNS)).last_seq + 1 - starts[0]
    stored = await arrivals(rack.bus, starts[0], parcels)
    came = await arrivals(place.bus, starts[1], parcels)
    check(came, stored[0].number, sum(one.count for one in stored))
    late_ms = sorted((to.time_ns - at.time_ns) / 1e6 for at, to in zip(stored, came, strict=True))
    return {name: round(late_ms[int(len(late_ms) * share)], 3) for name, share in SHARES.items()}


async def _live(place: Site, rack: Member, source: Source, plan: Plan) -> float:
    """Give the messages a second that a Rack gets to the hub when it sends all it can."""
    before, start = source.made, time.perf_counter()
    await source.flood(plan.seconds, plan.batch)
    await _arrived(place, [rack])
    return (source.made - before) / (time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """How a backlog came in, once the first of it did, `back_after_s` after the hub was up."""

    messages: int
    msgs_per_s: float
    back_after_s: float


async def _catch_up(place: Site, rack: Member, source: Source, plan: Plan) -> CaughtUp:
    """Kill the hub, have the Rack go on as before meanwhile, and see how fast the hub gets what it missed."""
    start_seq = (await stream_state(place.bus, UNS)).last_seq + 1
    number = rack.publisher.next_number
    first = (await stream_state(rack.bus, UNS)).last_seq + 1
    away = asyncio.create_task(_outage(place.hub, plan.seconds))
    await source.flood(plan.seconds, plan.batch)
    parcels = (await stream_state(rack.bus, UNS)).last_seq + 1 - first
    up_ns = await away
    await _arrived(place, [rack])
    came = await arrivals(place.bus, start_seq, parcels)
    messages = rack.publisher.next_number - number
    check(came, number, messages)
    span_s = max(1, came[-1].time_ns - came[0].time_ns) / 1e9
    rate = (messages - came[0].count) / span_s
    return CaughtUp(messages, rate, max(0.0, (came[0].time_ns - up_ns) / 1e9))


async def _bytes_per_message(folder: Path, plan: Plan, compression: str) -> float:
    """Count what goes over the link, both ways, with TLS and all of NATS."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(site(folder, sync=plan.sync, compression=compression))
        between = await stack.enter_async_context(relay(place.hub.leaf_address[1]))
        rack = await stack.enter_async_context(
            place.rack("rack-1", port=between.port, sync=plan.sync, compression=compression)
        )
        source = Source(rack, plan.assets)
        await source.store(plan.batch)
        await _arrived(place, [rack])
        await asyncio.sleep(_SETTLE_S)
        before, made = between.bytes, source.made
        for _ in range(WIRE_BATCHES):
            await source.store(plan.batch)
        await _arrived(place, [rack])
        return round((between.bytes - before) / (source.made - made), 1)


async def _many_racks(folder: Path, plan: Plan, tell: Tell) -> dict[str, Any]:
    """Kill a hub with many Racks, and see when it has what they stored meanwhile."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(site(folder, sync=plan.sync))
        racks = []
        for number in range(1, plan.racks + 1):
            tell(f"Rack {number} of {plan.racks} starts")
            racks.append(await stack.enter_async_context(place.rack(f"rack-{number}", sync=plan.sync)))
        sources = [Source(rack) for rack in racks]
        await asyncio.gather(*(source.store(1) for source in sources))
        await _arrived(place, racks)
        peak = await stack.enter_async_context(peak_rss({"hub": place.hub}))
        tell(f"{plan.racks} Racks, the hub is away for {plan.seconds:g} s")
        away = asyncio.create_task(_outage(place.hub, plan.seconds))
        await asyncio.gather(*(_store_while_away(source) for source in sources))
        up_ns = await away
        tell(f"{plan.racks} Racks catch up")
        await _arrived(place, racks)
        return {
            "racks": plan.racks,
            "racks_backlog_msgs": plan.racks * RACK_MESSAGES,
            "racks_caught_up_s": round((time.time_ns() - up_ns) / 1e9, 2),
            "racks_hub_rss_mib": round(peak["hub"] / 2**20, 1),
        }


async def _store_while_away(source: Source) -> None:
    for _ in range(RACK_MESSAGES // RACK_BATCH):
        await source.store(RACK_BATCH)


async def _arrived(place: Site, racks: Sequence[Member]) -> None:
    """Wait until the hub has all that these Racks, which are all it has, hold."""
    states = [await stream_state(rack.bus, UNS) for rack in racks]
    await wait_for(place.bus, sum(state.messages for state in states))


async def _outage(hub: NatsServer, seconds: float) -> int:
    """Kill a hub, and give when it answers again, ns since the Unix epoch."""
    restarts = hub.restarts
    hub.kill(down_for_s=seconds)
    end_s = time.monotonic() + seconds + PATIENCE_S
    while hub.restarts == restarts:
        if time.monotonic() > end_s:
            raise FluxrigError(f"the hub did not come back in {PATIENCE_S:g} s")
        await asyncio.sleep(0.01)
    return time.time_ns()


@asynccontextmanager
async def peak_rss(servers: dict[str, NatsServer]) -> AsyncIterator[dict[str, int]]:
    """Watch the resident memory of servers; give, by name, the most that each had, bytes."""
    peak = dict.fromkeys(servers, 0)

    async def watch() -> None:
        while True:
            for name, server in servers.items():
                peak[name] = max(peak[name], _rss_bytes(server.pid))
            await asyncio.sleep(_LOOK_S)

    task = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        await end([task])


def _rss_bytes(pid: int | None) -> int:
    with suppress(OSError):
        if pid is not None:
            fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
            return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
