"""The gear: polls on schedule, makes one message a poll, and says when the device goes and comes back.

Reconnecting is the engine's: `run` raises `Disconnected`, the engine backs off, and calls `run` again. What
outlasts a connection here is what the consumers were told, so that they are told each change once.
"""

from __future__ import annotations

from typing import Final, NoReturn

from fluxrig.gear import ERROR_PORT, OUT, Context, Emit, Gear
from fluxrig.message import FluxMsg
from gears.io_modbus.address import Table
from gears.io_modbus.config import Config
from gears.io_modbus.connection import Connection, Lost
from gears.io_modbus.poll import Poller, Readings
from gears.io_modbus.quality import bad
from gears.io_modbus.schedule import Schedule

OVERRUN_NEWS_NS: Final = 60_000_000_000
"""Overruns are reported at most this often."""


class IoModbus(Gear[Config]):
    """Polls one unit of one device."""

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.schedule: Schedule | None = None
        """Of the present connection."""
        self._connection: Connection | None = None
        self._units = {f"unit.{name}": tag.unit for name, tag in config.tags.items() if tag.unit}
        self._told_connected: bool | None = None
        self._told_away = False
        self._known_illegal: dict[str, str] = {}
        self._overrun_news_ns = 0
        self._answered_ns = 0

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def run(self, emit: Emit) -> None:
        await self.close()
        self._connection = Connection(*self.config.address, self.config.unit, self.config.response_timeout)
        try:
            try:
                await self._connection.open()
            except Lost as lost:
                await self._away(emit, lost)
            await self._poll(emit, self._connection)
        finally:
            await self.close()

    async def _poll(self, emit: Emit, connection: Connection) -> NoReturn:
        clock = self.context.clock
        poller = Poller(self.config.to_read(), self.config.max_hole)

        async def read(table: Table, start: int, count: int) -> list[int]:
            answer = await connection.read(table, start, count)
            self._answered_ns = clock.now_ns()
            return answer

        self.schedule = Schedule(round(self.config.every * 1e9), clock.monotonic_ns())
        while True:
            readings = await poller.poll(read, clock.monotonic_ns())
            if readings.lost is None:
                await self._back(emit)
            if readings.values or readings.lost is None:
                await self._tell(emit, readings)
            if readings.lost is not None:
                await self._away(emit, readings.lost)
            self._warn_illegal(poller.illegal)
            await self._wait(emit, self.schedule)

    async def _wait(self, emit: Emit, schedule: Schedule) -> None:
        clock = self.context.clock
        overruns = schedule.overruns
        wait_ns = schedule.wait_ns(clock.monotonic_ns())
        if schedule.overruns > overruns:
            await self._report_overrun(emit, schedule)
        await clock.sleep(wait_ns / 1e9)

    # --- what the consumers are told --------------------------------------------------------------

    async def _tell(self, emit: Emit, readings: Readings) -> None:
        self._told_away = False
        await emit(OUT, (self._message(readings),))

    def _message(self, readings: Readings) -> FluxMsg:
        """Make the message of a poll, stamped when its last values came: none in it is younger."""
        values = readings.values
        data = {name: values.get(name) for name in self.config.tags}
        missing = {f"quality.{name}": bad(readings.reasons[name]) for name in data if name not in values}
        meta = {**self._units, **missing} if missing else self._units
        return self.context.message(data, meta=meta, ts=self._answered_ns if values else None)

    async def _away(self, emit: Emit, lost: Lost) -> NoReturn:
        """Say once that no tag can be read, and once that the device is gone; then leave it to the engine."""
        if not self._told_away:
            await self._tell(emit, Readings(reasons=dict.fromkeys(self.config.tags, lost.reason)))
            self._told_away = True
        if self._told_connected is not False:
            self._told_connected = False
            await self._event(emit, "disconnected", str(lost), reason=lost.reason)
        raise lost

    async def _back(self, emit: Emit) -> None:
        """Say once that the device answers: a connection that never does is no news."""
        if not self._told_connected:
            self._told_connected = True
            await self._event(emit, "connected", f"{self.config.endpoint} unit {self.config.unit} answers")

    async def _report_overrun(self, emit: Emit, schedule: Schedule) -> None:
        now_ns = self.context.clock.monotonic_ns()
        if now_ns < self._overrun_news_ns:
            return
        self._overrun_news_ns = now_ns + OVERRUN_NEWS_NS
        detail = "a poll takes longer than `every`; poll less often, or fewer tags"
        self.context.log.warning(detail)
        await self._event(emit, "overrun", detail, overruns=schedule.overruns, skipped=schedule.skipped)

    async def _event(self, emit: Emit, event: str, detail: str, **data: object) -> None:
        await emit(ERROR_PORT, (self.context.event(event, detail, endpoint=self.config.endpoint, **data),))

    def _warn_illegal(self, illegal: dict[str, str]) -> None:
        found = [name for name in illegal if name not in self._known_illegal]
        self._known_illegal = illegal
        if found:
            some = ", ".join(f"{name} ({self.config.tags[name].at})" for name in found[:5])
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            self.context.log.warning("the device has no %s%s; check the addresses", some, more)
