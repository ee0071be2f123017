"""Requests to answers (Modbus Application Protocol V1.1b3, §6). Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fluxrig.modbus.address import BIT_TABLES, Table
from fluxrig.modbus.encode import WHOLE
from fluxrig.modbus.tag import Value
from gears.modbus_server.image import ILLEGAL_FUNCTION, ILLEGAL_VALUE, Image, Refused
from gears.modbus_server.writing import Bounds, written_bits, written_registers

NAMES: Final = {
    1: "read_coils",
    2: "read_discrete_inputs",
    3: "read_holding_registers",
    4: "read_input_registers",
    5: "write_single_coil",
    6: "write_single_register",
    15: "write_multiple_coils",
    16: "write_multiple_registers",
    22: "mask_write_register",
    23: "read_write_multiple_registers",
}
READ_WRITE: Final = 23

_READS: Final[Mapping[int, tuple[Table, int]]] = {
    1: ("coil", 2000),
    2: ("discrete", 2000),
    3: ("holding", 125),
    4: ("input", 125),
}
_COIL: Final = {0xFF00: b"\1", 0x0000: b"\0"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send, once what the client wrote is safe."""

    pdu: bytes
    written: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and what it is answered from. `bounds` names the tags that clients may write."""

    pdu: bytes
    image: Image
    bounds: Bounds
    now_ns: int
    """On the clock of the image."""

    def take(self, form: str) -> tuple[int, ...]:
        """Give the fields behind the function."""
        try:
            return struct.unpack(form, self.pdu[1:])
        except struct.error:
            raise Refused(ILLEGAL_VALUE, "the request has the wrong length") from None

    def written(self, start: int, registers: bytes, touched: int = WHOLE) -> dict[str, Value]:
        """Give what a write of registers sets, by tag."""
        return written_registers(
            self.image, self.bounds, start, registers, touched=touched, now_ns=self.now_ns
        )


def answer(request: Request) -> Answer:
    """Answer one request. Raises Refused; `refusal` makes the answer of that."""
    function = request.pdu[0]
    if function in _READS:
        return Answer(_read(request, function))
    write = WRITES.get(function)
    if write is None:
        raise Refused(ILLEGAL_FUNCTION, f"function {function} is not served")
    return write(request)


def refusal(function: int, code: int) -> bytes:
    """Give an exception response."""
    return bytes([function & 0x7F | 0x80, code])


def _read(request: Request, function: int) -> bytes:
    table, limit = _READS[function]
    start, count = request.take(">HH")
    return _values(request, table, start, count, limit)


def _values(request: Request, table: Table, start: int, count: int, limit: int) -> bytes:
    """Give the answer of a read, whatever function it is a part of. Raises Refused."""
    if not 1 <= count <= limit:
        raise Refused(ILLEGAL_VALUE, f"{count} is not between 1 and {limit}")
    values = request.image.read(table, start, count, request.now_ns)
    payload = packed(values) if table in BIT_TABLES else values
    return bytes([request.pdu[0], len(payload)]) + payload


def _write_coil(request: Request) -> Answer:
    start, value = request.take(">HH")
    if value not in _COIL:
        raise Refused(ILLEGAL_VALUE, f"a coil is written with FF00 or 0000, not {value:04X}")
    return Answer(request.pdu, written_bits(request.image, request.bounds, start, _COIL[value]))


def _write_coils(request: Request) -> Answer:
    start, count, data = _several(request.pdu, 1968, lambda count: (count + 7) // 8)
    bits = bytes(data[n >> 3] >> (n & 7) & 1 for n in range(count))
    return Answer(request.pdu[:5], written_bits(request.image, request.bounds, start, bits))


def _write_register(request: Request) -> Answer:
    start, value = request.take(">HH")
    return Answer(request.pdu, request.written(start, value.to_bytes(2)))


def _write_registers(request: Request) -> Answer:
    start, _, data = _several(request.pdu, 123, lambda count: 2 * count)
    return Answer(request.pdu[:5], request.written(start, data))


def _read_write(request: Request) -> Answer:
    """What is read is what the device had before, unless it is answered again once the write is safe."""
    if len(request.pdu) < 10:
        raise Refused(ILLEGAL_VALUE, "the request is cut short")
    read_start, read_count = struct.unpack_from(">HH", request.pdu, 1)
    start, _, data = _several(b"\0" + request.pdu[5:], 121, lambda count: 2 * count)
    return Answer(_values(request, "holding", read_start, read_count, 125), request.written(start, data))


def _mask_write(request: Request) -> Answer:
    start, and_mask, or_mask = request.take(">HHH")
    request.image.cells_at("holding", start, 1, holes=False)
    touched = ~and_mask & WHOLE
    value = request.image.register(start) & and_mask | or_mask & touched
    return Answer(request.pdu, request.written(start, value.to_bytes(2), touched))


WRITES: Final[Mapping[int, Callable[[Request], Answer]]] = {
    5: _write_coil,
    6: _write_register,
    15: _write_coils,
    16: _write_registers,
    22: _mask_write,
    READ_WRITE: _read_write,
}


def _several(pdu: bytes, limit: int, size_of: Callable[[int], int]) -> tuple[int, int, bytes]:
    """Give start, count and data of a write of several."""
    if len(pdu) < 6:
        raise Refused(ILLEGAL_VALUE, "the request is cut short")
    start, count, size = struct.unpack_from(">HHB", pdu, 1)
    data = pdu[6:]
    if not 1 <= count <= limit or size != size_of(count) or len(data) != size:
        raise Refused(ILLEGAL_VALUE, f"{count} values in {len(data)} bytes; at most {limit} go at once")
    return start, count, data


def packed(bits: bytes) -> bytes:
    """Pack bytes of 0 or 1 into bits, the first in the lowest bit of the first byte."""
    whole = sum(bit << n for n, bit in enumerate(bits))
    return whole.to_bytes((len(bits) + 7) // 8, "little")
