"""Requests and answers as the protocol defines them, without their frames (V1.1b3, §6 and §7). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from fluxrig.modbus.address import BIT_TABLES, Table

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, MASK_WRITE = 5, 6, 15, 16, 22

READ_FUNCTIONS: Final[dict[Table, int]] = {
    "coil": READ_COILS,
    "discrete": READ_DISCRETE,
    "holding": READ_HOLDING,
    "input": READ_INPUT,
}
MAX_WRITE_REGISTERS: Final = 123
MAX_WRITE_BITS: Final = 1968
MAX_PDU: Final = 253

_START_COUNT: Final = struct.Struct(">BHH")


class Refusal(Exception):
    """The device answered with an exception (§7)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class WrongAnswer(Exception):
    """What came is not the answer to what was asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and all that can be known of its answer beforehand."""

    pdu: bytes
    echo: bytes
    """What the answer begins with."""
    answer_size: int
    """How many bytes the answer has, function included."""

    @property
    def function(self) -> int:
        return self.pdu[0]


def read_request(table: Table, start: int, count: int) -> Request:
    """Ask for `count` bits or registers. The answer's payload has the lowest bit or register first."""
    function = READ_FUNCTIONS[table]
    size = (count + 7) // 8 if table in BIT_TABLES else count * 2
    return Request(_START_COUNT.pack(function, start, count), bytes([function, size]), 2 + size)


def write_coil(address: int, on: bool) -> Request:
    """Write one coil (FC 5)."""
    return _echoed(_START_COUNT.pack(WRITE_COIL, address, 0xFF00 if on else 0))


def write_register(address: int, payload: bytes) -> Request:
    """Write one register of two bytes (FC 6)."""
    return _echoed(struct.pack(">BH", WRITE_REGISTER, address) + payload)


def write_coils(start: int, bits: list[bool]) -> Request:
    """Write coils in a row (FC 15)."""
    head = _START_COUNT.pack(WRITE_COILS, start, len(bits))
    number = sum(1 << n for n, on in enumerate(bits) if on)
    size = (len(bits) + 7) // 8
    return Request(head + bytes([size]) + number.to_bytes(size, "little"), head, len(head))


def write_registers(start: int, payload: bytes) -> Request:
    """Write registers in a row, two bytes each (FC 16)."""
    head = _START_COUNT.pack(WRITE_REGISTERS, start, len(payload) // 2)
    return Request(head + bytes([len(payload)]) + payload, head, len(head))


def mask_write(address: int, payload: bytes, mask: int) -> Request:
    """Write only the bits of `mask` of one register (FC 22)."""
    bits = int.from_bytes(payload) & mask
    return _echoed(struct.pack(">BHHH", MASK_WRITE, address, 0xFFFF ^ mask, bits))


def _echoed(pdu: bytes) -> Request:
    return Request(pdu, pdu, len(pdu))


def size_of_answer(start: bytes, request: Request) -> int:
    """Give how many bytes the answer has that begins with these, function included.

    Raises WrongAnswer as soon as it can't become the answer to the request.
    """
    if start and start[0] == request.function | 0x80:
        return 2
    if start[: len(request.echo)] != request.echo[: len(start)]:
        raise WrongAnswer(_difference(start, request))
    return request.answer_size


def _difference(start: bytes, request: Request) -> str:
    if start[0] != request.function:
        return f"the answer has function {start[0] & 0x7F} instead of {request.function}"
    if request.function <= READ_INPUT:
        return f"the answer has byte count {start[1]} instead of {request.echo[1]}"
    return f"the answer repeats {start.hex()} instead of {request.echo.hex()}"


def payload_of(answer: bytes, request: Request) -> bytes:
    """Give what a whole answer carries behind what was known: the values of a read. Raises Refusal."""
    if answer[0] & 0x80:
        raise Refusal(answer[1])
    return answer[len(request.echo) :]
