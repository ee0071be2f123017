"""A device that a person talks to: one request after the other, and errors that say what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ssl import SSLContext
from typing import Final, Self

import typer
from pydantic import ValidationError

from fluxrig.clock import SystemClock
from fluxrig.errors import FluxrigError
from fluxrig.modbus.address import Table
from fluxrig.modbus.pdu import Refusal, Request, read_request
from fluxrig.modbus.plan import Block
from fluxrig.modbus.quality import BUSY, ILLEGAL, exception_reason
from fluxrig.modbus.tag import Tag
from gears.io_modbus.config import TlsConfig
from gears.io_modbus.endpoint import Endpoint, parse_endpoint
from gears.io_modbus.line import Line
from gears.io_modbus.terms import Answer, Lost, Terms
from gears.io_modbus.tls import TlsFileError, tls_context

CONNECT_S: Final = 3.0
BUSY_RETRIES: Final = 3
BUSY_PAUSE_S: Final = 0.2
HINTS: Final = {
    1: "the device does not know this function: the table is not there, or can't be written",
    2: "there is no such address, or not all of them; manuals often count from 1 (--address-base 1), and "
    "`fluxrig modbus scan` shows what exists",
    3: "the device does not take that value, or not so many at once",
    4: "the device has a trouble of its own",
    5: "the device works on it; read again later",
    6: "the device is busy; try again later",
    10: "the gateway has no way to the unit; check --unit and the gateway",
    11: "the unit behind the gateway does not answer; check --unit, its power and its wiring",
}


class RefusedError(FluxrigError):
    """The device answered with an exception."""

    def __init__(self, code: int, what: str) -> None:
        hint = HINTS.get(code, "the device's manual knows what that is")
        super().__init__(f"{what}: exception {code} ({exception_reason(code)}); {hint}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Reading:
    """The registers (big-endian) or the bits (the lowest first) of one tag, or why there are none."""

    tag: Tag
    payload: bytes = b""
    refused: RefusedError | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask, and how."""

    endpoint: Endpoint
    terms: Terms
    timeout_s: float
    """How long an answer may take."""


class Device:
    """One endpoint, for as long as the command runs."""

    def __init__(self, target: Target) -> None:
        self.endpoint = target.endpoint
        self._target = target
        self.requests = 0
        self.reached = False
        """Whether the endpoint took a connection at least once."""
        self.unreachable = 0
        """Requests in a row that found no connection."""
        self._line = self._new_line()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._line.close()

    async def ask(self, unit: int, request: Request) -> Answer:
        """Ask once. Raises Refusal or Lost; the next request begins anew."""
        self.requests += 1
        try:
            return await self._line.ask(unit, request, self._target.timeout_s)
        except Lost:
            self.reached |= self._line.connects > 0
            self.unreachable = 0 if self._line.connects else self.unreachable + 1
            self._line.close()
            # A serial line must stay: it knows how long to listen for what is late.
            self._line = self._line if self.endpoint.is_serial else self._new_line()
            raise

    async def do(self, unit: int, request: Request, what: str) -> Answer:
        """Ask, a busy device a few times. Raises RefusedError, or Lost, which say what to do."""
        for patience in reversed(range(BUSY_RETRIES + 1)):
            try:
                return await self.ask(unit, request)
            except Refusal as refusal:
                if refusal.code != BUSY or not patience:
                    raise RefusedError(refusal.code, f"{self.endpoint} unit {unit}, {what}") from None
            await asyncio.sleep(BUSY_PAUSE_S)
        raise AssertionError("unreachable")

    async def read(self, unit: int, table: Table, start: int, count: int) -> bytes:
        """Give registers or packed bits. Raises RefusedError or Lost."""
        answer = await self.do(unit, read_request(table, start, count), f"reading {table}/{start}+{count}")
        return answer.payload

    async def read_blocks(self, unit: int, blocks: Sequence[Block]) -> list[Reading]:
        """Read every tag of planned requests; one that is illegal is halved to find the tags to blame."""
        readings: list[Reading] = []
        pending = list(reversed(blocks))
        while pending:
            block = pending.pop()
            try:
                payload = await self.read(unit, block.table, block.start, block.count)
            except RefusedError as refused:
                if refused.code in ILLEGAL and len(block.tags) > 1:
                    pending += reversed(block.halves())
                    continue
                readings += [Reading(tag, refused=refused) for tag in block.tags]
            else:
                readings += [Reading(tag, part(payload, block, tag)) for tag in block.tags]
        return readings

    def _new_line(self) -> Line:
        return Line([self.endpoint], self._target.terms, SystemClock())


def part(payload: bytes, block: Block, tag: Tag) -> bytes:
    """Give the tag's own registers of a block, or one byte with its bit."""
    at = tag.start - block.start
    if block.table in {"coil", "discrete"}:
        return bytes([payload[at >> 3] >> (at & 7) & 1])
    return payload[2 * at : 2 * (at + tag.size)]


def target_of(url: str, timeout_s: float, tls: Sequence[str] | None = None) -> Target:
    """Make what the command line says of a device. Raises typer.BadParameter."""
    try:
        endpoint = parse_endpoint(url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="URL") from None
    if tls and endpoint.transport != "tls":
        raise typer.BadParameter(f"{url} is not encrypted; write tls://host:802", param_hint="--tls")
    terms = Terms(connect_timeout_s=max(CONNECT_S, timeout_s))
    if endpoint.transport == "tls":
        settings = _tls(tls or ())
        context = _context(settings)
        terms = replace(terms, tls=lambda: context, server_name=settings.server_name)
    return Target(endpoint, terms, timeout_s)


def _context(settings: TlsConfig) -> SSLContext:
    try:
        return tls_context(settings)
    except TlsFileError as error:
        raise typer.BadParameter(str(error), param_hint="--tls") from None


def _tls(pairs: Sequence[str]) -> TlsConfig:
    """Read `ca=plant.pem` and its like; the keys are those of `tls:` in a Rack file."""
    try:
        return TlsConfig.model_validate(dict(pair.partition("=")[::2] for pair in pairs))
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        known = ", ".join(f"{name}=…" for name in TlsConfig.model_fields)
        raise typer.BadParameter(f"{faults}; write {known}", param_hint="--tls") from None
