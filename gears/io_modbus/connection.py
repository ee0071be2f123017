"""One TCP connection to a device, with one request under way at a time.

pymodbus speaks the protocol. On top of it every answer must be exactly the one that was asked for, or the
connection ends: skipping what does not fit and going on is how answers come to be taken for each other's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from fluxrig.duration import format_duration
from fluxrig.errors import Disconnected
from gears.io_modbus.address import BIT_TABLES, Table
from gears.io_modbus.answer import Question, fault_in
from gears.io_modbus.quality import DISCONNECTED, TIMEOUT, WRONG_ANSWER

# What pymodbus logs, our own errors say once; who sets this logger's level sees its frames again.
if (_log := logging.getLogger("pymodbus.logging")).level == logging.NOTSET:
    _log.setLevel(logging.CRITICAL)

_PATIENCE_S: Final = 3600.0
"""pymodbus's own time-out, out of the way of ours."""


class Lost(Disconnected):
    """The connection is of no more use. `reason` is what the tags' quality says."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Refusal(Exception):
    """The device answered with an exception (§7)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Connection:
    """Connects once; when it is lost, make another."""

    def __init__(self, host: str, port: int, unit: int, timeout_s: float) -> None:
        self._peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._unit = unit
        self._timeout_s = timeout_s
        self._question: Question | None = None
        self._lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self._client = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=_PATIENCE_S,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._inspect,
            trace_connect=self._connection_changed,
        )

    async def open(self) -> None:
        """Connect, or raise `Lost`."""
        limit = format_duration(self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                connected = await self._client.connect()
        except TimeoutError:
            detail = (
                f"{self._peer} does not take a connection within {limit}; check address, cable and firewall"
            )
            raise Lost(TIMEOUT, detail) from None
        if not connected:
            detail = (
                f"{self._peer} refuses the connection or can't be reached; check address, port and device"
            )
            raise Lost(DISCONNECTED, detail)

    def close(self) -> None:
        """Close at once; twice is fine."""
        self._client.close()

    async def read(self, table: Table, start: int, count: int) -> list[int]:
        """Give `count` bits or registers. Raises `Refusal`, or `Lost`, after which every call does."""
        if self._lost.done():
            raise self._lost.result()
        answer = await self._ask(table, start, count)
        if answer.isError():
            raise Refusal(answer.exception_code)
        return list(answer.bits[:count] if table in BIT_TABLES else answer.registers)

    async def _ask(self, table: Table, start: int, count: int) -> ModbusPDU:
        """Wait for the answer, the loss of the connection or the time-out, whichever is first."""
        asking = asyncio.ensure_future(self._request(table, start, count))
        try:
            waiting: set[asyncio.Future[Any]] = {asking, self._lost}
            await asyncio.wait(waiting, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                self._lose(TIMEOUT, f"no answer within {format_duration(self._timeout_s)}")
                raise self._lost.result()
            return asking.result()
        except ModbusException as error:
            self._lose(DISCONNECTED, str(error))
            raise self._lost.result() from error
        finally:
            self._question = None
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _request(self, table: Table, start: int, count: int) -> ModbusPDU:
        client = self._client
        read = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "input": client.read_input_registers,
            "holding": client.read_holding_registers,
        }[table]
        return await read(start, count=count, device_id=self._unit)

    def _inspect(self, sending: bool, data: bytes) -> bytes:
        """See each packet before pymodbus does, and hide what must not be taken for an answer."""
        if sending:
            self._question = Question.of(data)
            return data
        fault = fault_in(data, self._question) if self._question else "an answer came that nobody asked for"
        if fault is None:
            return data
        self._lose(WRONG_ANSWER, fault)
        return b""

    def _connection_changed(self, connected: bool) -> None:
        if not connected:
            self._lose(DISCONNECTED, "the device closed the connection")

    def _lose(self, reason: str, detail: str) -> None:
        """Note the first thing that made the connection useless, and close it."""
        if not self._lost.done():
            self._lost.set_result(Lost(reason, f"{self._peer} unit {self._unit}: {detail}"))
            self._client.close()
