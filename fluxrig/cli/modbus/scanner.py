"""The walk of `fluxrig modbus scan`: unit after unit, then table after table, gently."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fluxrig.cli.modbus.device import Device, Target
from fluxrig.cli.modbus.distress import IN_A_ROW, Distress, DistressError
from fluxrig.cli.modbus.ranges import Range, find_ranges
from fluxrig.errors import FluxrigError
from fluxrig.modbus.address import Table
from fluxrig.modbus.pdu import Refusal, read_request
from fluxrig.modbus.quality import BUSY, UNIT_AWAY, exception_reason
from gears.io_modbus.terms import Lost

ILLEGAL_FUNCTION: Final = 1
INTERRUPTED: Final = "interrupted"
BUSY_PAUSES: Final = 10
"""How many pauses a device gets that says that it is busy."""


@dataclass(slots=True)
class FoundUnit:
    """One unit that answers, and what is known of it."""

    unit: int
    answers: str
    """`ok`, or the reason of the exception that it answered the first request with."""
    latency_ms: float
    tables: dict[Table, list[Range]] = field(default_factory=dict)
    """The ranges of the tables that were looked into; a table that the device does not know has none."""


@dataclass(slots=True)
class Found:
    """What a scan found until it ended, or `stopped` for a reason."""

    units: list[FoundUnit] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    requests: int = 0
    note: str = ""
    stopped: str = ""


class Scanner:
    """Scans one endpoint."""

    def __init__(
        self,
        target: Target,
        units: Sequence[int],
        tables: Sequence[Table],
        addresses: Range,
        *,
        block: int,
        thorough: bool,
        pause_s: float,
    ) -> None:
        self._device = Device(target)
        self._units, self._tables, self._addresses = units, tables, addresses
        self._block, self._thorough, self._pause_s = block, thorough, pause_s
        self._found = Found()
        self._distress = Distress()
        self._doing = ""

    def __rich__(self) -> str:
        return f"{self._doing}, {self._device.requests} requests"

    async def run(self) -> Found:
        """Scan. Raises FluxrigError when the endpoint can't be reached at all."""
        async with self._device:
            try:
                for unit in self._units:
                    await self._look_for(unit)
                for found in self._worth_looking_into():
                    for table in self._tables:
                        await self._look_into(found, table)
            except DistressError as signs:
                self._found.stopped = str(signs)
        self._found.requests = self._device.requests
        return self._found

    def interrupted(self) -> Found:
        """Give what was found until the user had enough."""
        self._found.requests, self._found.stopped = self._device.requests, INTERRUPTED
        return self._found

    # --- units ------------------------------------------------------------------------------------

    async def _look_for(self, unit: int) -> None:
        """Ask a unit for one register: any answer of its own, an exception too, says that it is there."""
        self._doing = f"looking for unit {unit}"
        started_ns = time.monotonic_ns()
        try:
            answers = await self._probe(unit)
        except Lost as lost:
            if not self._device.reached:
                raise FluxrigError(str(lost)) from None
            await asyncio.sleep(self._pause_s)
            await self._silent(unit)
            return
        latency_ms = (time.monotonic_ns() - started_ns) / 1e6
        await asyncio.sleep(self._pause_s)
        if answers is None:
            self._found.silent.append(unit)
        else:
            self._found.units.append(FoundUnit(unit, answers, latency_ms))

    async def _silent(self, unit: int) -> None:
        """Note a silent unit. Where it was the endpoint that took no connection, ask it again, later."""
        if self._device.unreachable == 0:
            self._found.silent.append(unit)
            return
        if self._device.unreachable >= IN_A_ROW:
            raise DistressError("it takes no connection any more")
        await asyncio.sleep(BUSY_PAUSES * self._pause_s)
        await self._look_for(unit)

    async def _probe(self, unit: int) -> str | None:
        """Give how a unit answers, or None where a gateway does in its place."""
        try:
            await self._device.ask(unit, read_request("holding", self._addresses[0], 1))
        except Refusal as refusal:
            return None if refusal.code in UNIT_AWAY else exception_reason(refusal.code)
        return "ok"

    def _worth_looking_into(self) -> list[FoundUnit]:
        """Leave out units that are likely one: a device without a gateway often answers to every number."""
        found = self._found
        alike = {unit.answers for unit in found.units}
        if self._tables and len(found.units) > 1 and len(alike) == 1 and not found.silent:
            found.note = (
                "every unit answers alike, so the device likely ignores the number: "
                "only the first was looked into"
            )
            return found.units[:1]
        return found.units

    # --- tables -----------------------------------------------------------------------------------

    async def _look_into(self, found: FoundUnit, table: Table) -> None:
        first, last = self._addresses
        self._doing = f"unit {found.unit}, {table}"

        async def readable(start: int, count: int) -> bool:
            return await self._readable(found.unit, table, start, count)

        try:
            found.tables[table] = await find_ranges(
                readable, first, last, self._block, thorough=self._thorough
            )
        except _NoSuchTableError:
            found.tables[table] = []

    async def _readable(self, unit: int, table: Table, start: int, count: int) -> bool:
        """Say whether a range can be read, with patience for a device that is busy or lost its connection."""
        self._doing = f"unit {unit}, {table}/{start}"
        while True:
            started_ns = time.monotonic_ns()
            pauses = 1
            try:
                await self._device.ask(unit, read_request(table, start, count))
                self._distress.answered((time.monotonic_ns() - started_ns) / 1e6)
                return True
            except Refusal as refusal:
                if refusal.code == ILLEGAL_FUNCTION:
                    raise _NoSuchTableError from None
                if refusal.code not in (BUSY, *UNIT_AWAY):
                    self._distress.answered((time.monotonic_ns() - started_ns) / 1e6)
                    return False
                self._distress.refused(exception_reason(refusal.code))
                pauses = BUSY_PAUSES
            except Lost as lost:
                self._distress.lost(str(lost))
                pauses = BUSY_PAUSES
            finally:
                await asyncio.sleep(pauses * self._pause_s)


class _NoSuchTableError(Exception):
    """The device does not know the function that reads a table."""
