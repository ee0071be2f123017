"""What a Modbus PDU says (MODBUS Application Protocol V1.1b3, section 6). Pure.

A decoder gives the fields of `ot.transaction/1` that the PDU fills, and whether the PDU is whole and as the
specification wants it. What is not as it should be gives no values: only what was surely meant.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from fluxrig.modbus.quality import EXCEPTIONS
from gears.network_sniffer.modbus import rare
from gears.network_sniffer.modbus.rare import Decoded, Fields

EXCEPTION: Final = 0x80

NAMES: Final = {
    1: "read_coils",
    2: "read_discrete_inputs",
    3: "read_holding_registers",
    4: "read_input_registers",
    5: "write_single_coil",
    6: "write_single_register",
    7: "read_exception_status",
    8: "diagnostics",
    11: "get_comm_event_counter",
    12: "get_comm_event_log",
    15: "write_multiple_coils",
    16: "write_multiple_registers",
    17: "report_server_id",
    20: "read_file_record",
    21: "write_file_record",
    22: "mask_write_register",
    23: "read_write_multiple_registers",
    24: "read_fifo_queue",
    43: "encapsulated_interface_transport",
}

TABLES: Final = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}

_BITS: Final = tuple(tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256))
_REGISTERS: Final = tuple(struct.Struct(f">{count}H").unpack_from for count in range(128))
_two: Final = struct.Struct(">HH").unpack_from
_three: Final = struct.Struct(">HHB").unpack_from
_five: Final = struct.Struct(">HHHHB").unpack_from


def decode_request(unit: int, pdu: bytes) -> Decoded:
    """Decode what a client asks. A function code without a decoder gives the unit alone."""
    decode = _REQUESTS.get(pdu[0])
    if decode is None:
        return {"target": {"unit": unit}}, True
    try:
        return decode(unit, pdu)
    except (struct.error, IndexError):
        return {"target": {"unit": unit}}, False


def decode_response(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    """Decode what a server answers; `request` is the PDU that it answers, where that is known."""
    decode = _RESPONSES.get(pdu[0])
    if decode is None:
        return {}, True
    try:
        return decode(unit, pdu, request)
    except (struct.error, IndexError):
        return {}, False


def is_request(pdu: bytes) -> bool:
    """Whether this is surely meant as a request: a public function code, and the shape that it wants."""
    return pdu[0] in _REQUESTS and decode_request(0, pdu)[1]


def is_response(pdu: bytes) -> bool:
    """Whether this is surely meant as a response: an exception, or a public code in the shape it wants."""
    if pdu[0] & EXCEPTION:
        return len(pdu) == 2 and pdu[1] in EXCEPTIONS
    return pdu[0] in _RESPONSES and decode_response(0, pdu, None)[1]


def is_public(pdu: bytes) -> bool:
    return pdu[0] in _REQUESTS


def bits(data: bytes, quantity: int) -> list[bool]:
    """Give the first `quantity` bits, the lowest of each byte first."""
    values: list[bool] = []
    for byte in data:
        values += _BITS[byte]
    del values[quantity:]
    return values


def registers(pdu: bytes, at: int, count: int) -> list[int]:
    return list(_REGISTERS[count](pdu, at))


def _target(unit: int, table: str, address: int, quantity: int) -> dict[str, Any]:
    return {"unit": unit, "table": table, "address": address, "quantity": quantity}


def _read_request(unit: int, pdu: bytes) -> Decoded:
    address, quantity = _two(pdu, 1)
    return {"target": _target(unit, TABLES[pdu[0]], address, quantity)}, len(pdu) == 5


def _read_bits(unit: int, pdu: bytes, request: bytes | None) -> Decoded:  # noqa: ARG001 - one signature for all
    count = pdu[1]
    quantity = _two(request, 1)[1] if request else count * 8
    if len(pdu) != 2 + count or count != (quantity + 7) // 8 or not count:
        return {}, False
    return {"read": {"values": bits(pdu[2:], quantity)}}, True


def _read_registers(unit: int, pdu: bytes, request: bytes | None) -> Decoded:  # noqa: ARG001
    count = pdu[1]
    if len(pdu) != 2 + count or count % 2 or not count or (request and count != 2 * _two(request, 1)[1]):
        return {}, False
    return {"read": {"values": registers(pdu, 2, count // 2)}}, True


def _write_coil(unit: int, pdu: bytes) -> Decoded:
    address, value = _two(pdu, 1)
    fields: Fields = {"target": _target(unit, "coil", address, 1)}
    if len(pdu) != 5 or value not in (0, 0xFF00):
        return fields, False
    fields["write"] = {"values": [value != 0]}
    return fields, True


def _write_register(unit: int, pdu: bytes) -> Decoded:
    address, value = _two(pdu, 1)
    fields: Fields = {"target": _target(unit, "holding", address, 1)}
    if len(pdu) != 5:
        return fields, False
    fields["write"] = {"values": [value]}
    return fields, True


def _write_coils(unit: int, pdu: bytes) -> Decoded:
    address, quantity, count = _three(pdu, 1)
    fields: Fields = {"target": _target(unit, "coil", address, quantity)}
    if len(pdu) != 6 + count or count != (quantity + 7) // 8:
        return fields, False
    fields["write"] = {"values": bits(pdu[6:], quantity)}
    return fields, True


def _write_registers(unit: int, pdu: bytes) -> Decoded:
    address, quantity, count = _three(pdu, 1)
    fields: Fields = {"target": _target(unit, "holding", address, quantity)}
    if len(pdu) != 6 + count or count != 2 * quantity:
        return fields, False
    fields["write"] = {"values": registers(pdu, 6, quantity)}
    return fields, True


def _echo(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    """A write is confirmed by what was asked: the first five bytes of the request, seven for a mask."""
    if request is not None:
        return {}, pdu == request[: 7 if pdu[0] == 22 else 5]
    if pdu[0] in (15, 16):
        address, quantity = _two(pdu, 1)
        return {"target": _target(unit, "coil" if pdu[0] == 15 else "holding", address, quantity)}, len(
            pdu
        ) == 5
    return _REQUESTS[pdu[0]](unit, pdu)


def _mask_write(unit: int, pdu: bytes) -> Decoded:
    (address,) = _REGISTERS[1](pdu, 1)
    fields: Fields = {"target": _target(unit, "holding", address, 1)}
    if len(pdu) != 7:
        return fields, False
    and_mask, or_mask = _two(pdu, 3)
    fields["write"] = {"and_mask": and_mask, "or_mask": or_mask}
    return fields, True


def _read_write(unit: int, pdu: bytes) -> Decoded:
    address, quantity, write_address, write_quantity, count = _five(pdu, 1)
    write: Fields = {"address": write_address, "quantity": write_quantity}
    fields: Fields = {"target": _target(unit, "holding", address, quantity), "write": write}
    if len(pdu) != 10 + count or count != 2 * write_quantity:
        return fields, False
    write["values"] = registers(pdu, 10, write_quantity)
    return fields, True


_REQUESTS: Final[dict[int, Callable[[int, bytes], Decoded]]] = {
    **dict.fromkeys((1, 2, 3, 4), _read_request),
    5: _write_coil,
    6: _write_register,
    15: _write_coils,
    16: _write_registers,
    22: _mask_write,
    23: _read_write,
    **rare.REQUESTS,
}

_RESPONSES: Final[dict[int, Callable[[int, bytes, bytes | None], Decoded]]] = {
    **dict.fromkeys((1, 2), _read_bits),
    **dict.fromkeys((3, 4, 23), _read_registers),
    **dict.fromkeys((5, 6, 15, 16, 22), _echo),
    **rare.RESPONSES,
}
