"""One client: its frames (Modbus Messaging on TCP/IP Implementation Guide V1.0b, §3.1) in, answers out.

What can't be framed can't be answered either, so it ends the connection.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from fluxrig.clock import Clock
from fluxrig.modbus.tag import Value
from gears.modbus_server.image import NO_SUCH_UNIT, Image, Refused
from gears.modbus_server.pdu import READ_WRITE, Answer, Request, answer, refusal
from gears.modbus_server.writing import Bounds

HEADER: Final = struct.Struct(">HHHB")
"""Transaction id, protocol id, length from the unit on, unit."""
MAX_LENGTH: Final = 254

Write: TypeAlias = Callable[[Mapping[str, Value], int], Awaitable[int | None]]
"""Hands on what a client wrote with a function; gives the exception to answer with, None when it is safe."""
Refusal: TypeAlias = Callable[[int, Refused], None]
"""Hears which function was refused, and why."""


class Session:
    """Answers one client until it goes, is silent for `idle_s`, or sends what is no Modbus."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        image: Image,
        bounds: Bounds,
        unit: int | None,
        idle_s: float,
        clock: Clock,
        write: Write,
        refused: Refusal,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._image = image
        self._bounds = bounds
        self._unit = unit
        self._idle_s = idle_s
        self._clock = clock
        self._write = write
        self._refused = refused

    async def serve(self) -> str:
        """Serve to the end, and say what it was."""
        try:
            while True:
                async with asyncio.timeout(self._idle_s):
                    frame = await self._frame()
                if isinstance(frame, str):
                    return frame
                transaction, unit, pdu = frame
                reply = await self._answer(unit, pdu)
                self._writer.write(HEADER.pack(transaction, 0, len(reply) + 1, unit) + reply)
                async with asyncio.timeout(self._idle_s):
                    await self._writer.drain()
        except TimeoutError:
            return f"silent for {self._idle_s:g} s"
        except (OSError, asyncio.IncompleteReadError):
            return "gone"

    async def _frame(self) -> tuple[int, int, bytes] | str:
        """Give transaction id, unit and request of one frame, or say why it is none."""
        transaction, protocol, length, unit = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        if protocol != 0 or not 2 <= length <= MAX_LENGTH:
            return f"no Modbus: protocol {protocol}, length {length}"
        return transaction, unit, await self._reader.readexactly(length - 1)

    async def _answer(self, unit: int, pdu: bytes) -> bytes:
        function = pdu[0]
        try:
            self._check(unit)
            found = self._look(pdu)
            if found.written and (code := await self._write(found.written, function)) is not None:
                return refusal(function, code)
        except Refused as refused:
            self._refused(function, refused)
            return refusal(function, refused.code)
        return self._afterwards(pdu, found) if function == READ_WRITE else found.pdu

    def _afterwards(self, pdu: bytes, before: Answer) -> bytes:
        """Give what is read after what was written with it, as far as that has come back already."""
        try:
            return self._look(pdu).pdu
        except Refused:
            return before.pdu

    def _look(self, pdu: bytes) -> Answer:
        return answer(Request(pdu, self._image, self._bounds, self._clock.monotonic_ns()))

    def _check(self, unit: int) -> None:
        if self._unit not in (None, unit):
            raise Refused(NO_SUCH_UNIT, f"unit {unit} is not served")
