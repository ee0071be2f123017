"""The gear: polls each group of tags on schedule, says when a device goes and comes back, and writes.

A device that is away is the gear's own matter, not the engine's: the others of its line go on. What the
consumers were told outlasts a connection, so that they are told each change once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from fluxrig.errors import NotReady
from fluxrig.gear import ERROR_PORT, OUT, Batch, Context, Emit, Gear, Outputs
from gears.io_modbus.config import Config, TlsConfig
from gears.io_modbus.group import Group
from gears.io_modbus.metrics import Metrics
from gears.io_modbus.owner import Owner, owners
from gears.io_modbus.poll import Query, Readings
from gears.io_modbus.punctuality import Punctuality
from gears.io_modbus.schedule import Schedule
from gears.io_modbus.terms import Lost, Terms
from gears.io_modbus.timer import Timer
from gears.io_modbus.tls import TlsFileError, tls_context
from gears.io_modbus.unit import Unit
from gears.io_modbus.writer import Writer

OVERRUN_NEWS_NS: Final = 60_000_000_000
"""Overruns are reported at most this often."""
STALE_LOOK_S: Final = 0.25


class IoModbus(Gear[Config]):
    """Polls and writes the units at one endpoint."""

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.groups = [
            Group(device, every_s, tags, context)
            for device in config.units
            for every_s, tags in device.intervals().items()
        ]
        self.units: dict[str, Unit] = {}
        self._owner: Owner | None = None
        self._metrics = Metrics()
        self._told_connected: dict[str, bool] = {}
        self._known_illegal: set[tuple[str, str]] = set()
        self._overrun_news_ns = 0
        self._report_ns = 0

    @property
    def _unit_ids(self) -> list[int]:
        return [device.unit for device in self.config.units]

    async def open(self) -> None:
        """Take a share in the endpoint. No device is asked yet."""
        if self._owner is not None:
            return
        config = self.config
        _must_have_tls_files(config)
        self._owner = owners().own(
            config.endpoints,
            terms_of(config),
            self.context.clock,
            self._unit_ids,
            probe_line=config.probe_connection,
        )
        for device in config.units:
            attributes = {"gear": self.context.gear, "device": device.name}
            self.units[device.name] = Unit(device, self._owner, self._metrics, attributes)

    async def close(self) -> None:
        if self._owner is not None:
            owners().leave(self._owner, self._unit_ids)
            self._owner = None
            self.units.clear()

    async def process(self, batch: Batch, port: str) -> Outputs:
        """Write what messages ask for; what came of it goes out as messages."""
        outputs = Outputs()
        asking = []
        for message in batch:
            if message.fields.get("data"):
                asking.append(message)
            else:
                outputs.reject(message, "the message has no data, so nothing to write")
        await self.open()
        for account in await Writer(self.units.values(), self.context).write(asking):
            outputs.add(account)
        return outputs

    async def run(self, emit: Emit) -> None:
        await self.open()
        jobs: list[Coroutine[Any, Any, None]] = [self._poll(emit, group) for group in self.groups]
        jobs += [unit.watch(self._probe(name), self.context.clock) for name, unit in self.units.items()]
        tasks = [asyncio.create_task(job) for job in (*jobs, self._watch(emit))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if (since_start := Punctuality.together(group.since_start for group in self.groups)).polls:
                self.context.log.info("%s", since_start)

    def _probe(self, name: str) -> Query:
        return next(group.poller.probe for group in self.groups if group.device.name == name)

    async def _poll(self, emit: Emit, group: Group) -> NoReturn:
        timer = Timer(self.context.clock)
        try:
            await self._poll_on(timer, emit, group)
        finally:
            timer.close()

    async def _poll_on(self, timer: Timer, emit: Emit, group: Group) -> NoReturn:
        clock, unit = self.context.clock, self.units[group.device.name]
        await clock.sleep(owners().next_phase() * group.every_s)
        schedule = group.schedule = Schedule(round(group.every_s * 1e9), clock.monotonic_ns())
        group.told_ns = clock.monotonic_ns()
        while True:
            readings = await group.poller.poll(unit.read, clock.monotonic_ns())
            if readings.lost is None:
                await self._back(emit, unit)
            if readings.requests or readings.lost is None:
                await self._tell(emit, group, readings)
            self._warn_illegal(group)
            if self.config.close_after == "poll" and self._owner is not None:
                self._owner.rest()
            if readings.lost is None:
                await self._wait(timer, emit, group, schedule)
            else:
                await self._away(emit, group, unit, readings.lost)
                await clock.sleep(schedule.rejoin_ns(clock.monotonic_ns()) / 1e9)

    async def _wait(self, timer: Timer, emit: Emit, group: Group, schedule: Schedule) -> None:
        clock = self.context.clock
        overruns, skipped = schedule.overruns, schedule.skipped
        wait_ns = schedule.wait_ns(clock.monotonic_ns())
        attributes = {"gear": self.context.gear, "device": group.device.name, "every": f"{group.every_s:g}"}
        if schedule.overruns > overruns:
            group.note_overrun(schedule.skipped - skipped)
            self._metrics.overruns.add(1, attributes)
            self._metrics.skipped.add(schedule.skipped - skipped, attributes)
            await self._report_overrun(emit, group, schedule)
        await timer.until(schedule.tick_ns if wait_ns else 0)
        if wait_ns:
            late_ns = clock.monotonic_ns() - schedule.tick_ns
            group.note_on_time(max(0, late_ns) / 1e9)
            self._metrics.jitter.record(max(0, late_ns) / 1e9, attributes)

    # --- what the consumers are told --------------------------------------------------------------

    async def _tell(self, emit: Emit, group: Group, readings: Readings) -> None:
        now_ns = self.context.clock.monotonic_ns()
        await emit(OUT, group.messages(readings, now_ns, split=self.config.message == "request"))

    async def _away(self, emit: Emit, group: Group, unit: Unit, lost: Lost) -> None:
        """Say once that no tag can be read, and once that the device is gone; then wait until it is back."""
        if not group.told_away:
            await emit(OUT, [group.away(lost.reason, self.context.clock.monotonic_ns())])
        name = unit.device.name
        if self._told_connected.get(name) is not False:
            self._told_connected[name] = False
            await self._event(emit, "disconnected", str(lost), unit, reason=lost.reason)
        await unit.came.wait()

    async def _back(self, emit: Emit, unit: Unit) -> None:
        """Say once that the device answers: a connection that never does is no news."""
        name = unit.device.name
        if not self._told_connected.get(name):
            self._told_connected[name] = True
            await self._event(
                emit, "connected", f"{unit.owner.main.endpoint} unit {unit.device.unit} answers", unit
            )

    async def _watch(self, emit: Emit) -> NoReturn:
        """Tell tags stale that nothing was heard of for no known reason: a busy line, or a full wire. Now and
        then report how punctual the polls were."""
        self._put_off_report()
        while True:
            await asyncio.sleep(STALE_LOOK_S)
            now_ns = self.context.clock.monotonic_ns()
            for group in self.groups:
                if (message := group.stale(now_ns)) is not None:
                    await emit(OUT, [message])
            if self._report_ns and now_ns >= self._report_ns:
                self._put_off_report()
                await self._report(emit)

    def _put_off_report(self) -> None:
        every_s = self.config.report_every
        self._report_ns = self.context.clock.monotonic_ns() + round(every_s * 1e9) if every_s else 0

    async def _report(self, emit: Emit) -> None:
        """Tell of each group how punctual its polls were since the last report."""
        for group in self.groups:
            punctuality, unit = group.take_punctuality(), self.units[group.device.name]
            facts = {"every_ms": round(group.every_s * 1e3, 3), **punctuality.facts()}
            await self._event(emit, "punctuality", str(punctuality), unit, **facts)

    async def _report_overrun(self, emit: Emit, group: Group, schedule: Schedule) -> None:
        now_ns = self.context.clock.monotonic_ns()
        if now_ns < self._overrun_news_ns:
            return
        self._overrun_news_ns = now_ns + OVERRUN_NEWS_NS
        detail = "a poll takes longer than `every`; poll less often, or fewer tags"
        self.context.log.warning(detail)
        unit = self.units[group.device.name]
        counts = {"overruns": schedule.overruns, "skipped": schedule.skipped}
        await self._event(emit, "overrun", detail, unit, **counts)

    async def _event(self, emit: Emit, event: str, detail: str, unit: Unit, **data: object) -> None:
        more = {"device": unit.device.name} if unit.device.name else {}
        about = {"endpoint": self.config.endpoint, "unit": unit.device.unit, **more, **data}
        await emit(ERROR_PORT, (self.context.event(event, detail, **about),))

    def _warn_illegal(self, group: Group) -> None:
        device, illegal = group.device, group.poller.illegal
        found = [name for name in illegal if (device.name, name) not in self._known_illegal]
        if found:
            self._known_illegal |= {(device.name, name) for name in found}
            some = ", ".join(f"{name} ({device.decoded[name].at})" for name in found[:5])
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            self.context.log.warning("the device has no %s%s; check the addresses", some, more)


def _must_have_tls_files(config: Config) -> None:
    """Raise NotReady where one is missing: without it no connection would ever be made."""
    if all(endpoint.transport != "tls" for endpoint in config.endpoints):
        return
    try:
        tls_context(config.tls or TlsConfig())
    except TlsFileError as error:
        raise NotReady(str(error)) from None


def terms_of(config: Config) -> Terms:
    """Give how the lines to the endpoint are treated."""
    tls = config.tls or TlsConfig()
    return Terms(
        connect_timeout_s=config.connect_timeout,
        idle_timeout_s=config.idle_timeout,
        pause_after_connect_s=config.pause_after_connect or 0.0,
        pause_between_requests_s=config.pause_between_requests or 0.0,
        close_after_request=config.close_after == "request",
        return_after_s=config.backup_return,
        tls=lambda: tls_context(tls),
        server_name=tls.server_name,
    )
