# ruff: noqa: ARG001 - one signature for all decoders
"""The functions beside reading and writing tables: diagnostics, logs, files, queues, identification. Pure.

MODBUS Application Protocol V1.1b3, sections 6.7 to 6.10, 6.13 to 6.15 and 6.18 to 6.21. Decoders as in `pdu`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

Fields: TypeAlias = dict[str, Any]
Decoded: TypeAlias = tuple[Fields, bool]
"""Fields of `ot.transaction/1`, and whether the PDU is whole and as the specification wants it."""

IDENTIFY: Final = 14
CANOPEN: Final = 13
_MEI_TYPES: Final = (CANOPEN, IDENTIFY)

DIAGNOSTICS: Final = {
    0: "return_query_data",
    1: "restart_communications",
    2: "return_diagnostic_register",
    3: "change_ascii_delimiter",
    4: "force_listen_only_mode",
    10: "clear_counters",
    11: "return_bus_message_count",
    12: "return_bus_communication_error_count",
    13: "return_bus_exception_error_count",
    14: "return_server_message_count",
    15: "return_server_no_response_count",
    16: "return_server_nak_count",
    17: "return_server_busy_count",
    18: "return_bus_character_overrun_count",
    20: "clear_overrun_counter",
}

_one: Final = struct.Struct(">H").unpack_from
_two: Final = struct.Struct(">HH").unpack_from
_record: Final = struct.Struct(">BHHH").unpack_from
_log: Final = struct.Struct(">BHHH").unpack_from
_FILE_REFERENCE: Final = 6
"""The reference type of every file record."""


def _bare(unit: int, pdu: bytes) -> Decoded:
    """A function that asks for one thing only, by its code."""
    return {"target": {"unit": unit}}, len(pdu) == 1


def _exception_status(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    return {"read": {"exception_status": pdu[1]}}, len(pdu) == 2


def _diagnose(unit: int, pdu: bytes) -> Decoded:
    (code,) = _one(pdu, 1)
    diagnostics: Fields = {"sub_function": code, "data": pdu[3:]}
    if code in DIAGNOSTICS:
        diagnostics["name"] = DIAGNOSTICS[code]
    return {"target": {"unit": unit}, "diagnostics": diagnostics}, len(pdu) >= 5 and len(pdu) % 2 == 1


def _diagnosis(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    (code,) = _one(pdu, 1)
    fits = len(pdu) >= 5 and len(pdu) % 2 == 1 and (request is None or request[1:3] == pdu[1:3])
    return {"read": {"sub_function": code, "data": pdu[3:]}}, fits


def _event_counter(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    status, events = _two(pdu, 1)
    return {"read": {"status": status, "event_count": events}}, len(pdu) == 5


def _event_log(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    count, status, events, messages = _log(pdu, 1)
    read = {"status": status, "event_count": events, "message_count": messages, "events": pdu[8:]}
    return {"read": read}, len(pdu) == 2 + count


def _server_id(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    """Which bytes are the id, which the run indicator, is the device's own affair."""
    return {"read": {"server_id": pdu[2:]}}, len(pdu) == 2 + pdu[1] and pdu[1] > 0


def _read_files(unit: int, pdu: bytes) -> Decoded:
    records, at, fits = [], 2, len(pdu) == 2 + pdu[1] and pdu[1] > 0 and pdu[1] % 7 == 0
    while fits and at < len(pdu):
        reference, file, address, quantity = _record(pdu, at)
        fits = reference == _FILE_REFERENCE
        records.append({"file": file, "address": address, "quantity": quantity})
        at += 7
    target: Fields = {"unit": unit, "table": "file"}
    if fits:
        target["records"] = records
    return {"target": target}, fits


def _files_read(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    """Registers by record; where each stands is known from the request alone."""
    asked = _read_files(unit, request)[0]["target"].get("records") if request else None
    records: list[Fields] = []
    at, fits = 2, len(pdu) == 2 + pdu[1] and pdu[1] > 0
    while fits and at < len(pdu):
        size = pdu[at]
        values = _registers(pdu[at + 2 : at + 1 + size])
        fits = size % 2 == 1 and pdu[at + 1] == _FILE_REFERENCE and at + 1 + size <= len(pdu)
        records.append({"values": values})
        at += 1 + size
    if not fits or (
        asked is not None and [r["quantity"] for r in asked] != [len(r["values"]) for r in records]
    ):
        return {}, False
    for place, record in zip(asked or (), records, strict=False):
        record.update(file=place["file"], address=place["address"])
    return {"read": {"records": records}}, True


def _write_files(unit: int, pdu: bytes) -> Decoded:
    records, at = [], 2
    fits = len(pdu) == 2 + pdu[1] and pdu[1] > 0
    while fits and at < len(pdu):
        reference, file, address, quantity = _record(pdu, at)
        end = at + 7 + 2 * quantity
        fits = reference == _FILE_REFERENCE and end <= len(pdu)
        records.append({"file": file, "address": address, "values": _registers(pdu[at + 7 : end])})
        at = end
    fields: Fields = {"target": {"unit": unit, "table": "file"}}
    if fits:
        fields["write"] = {"records": records}
    return fields, fits


def _files_written(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    return _write_files(unit, pdu) if request is None else ({}, pdu == request)


def _read_queue(unit: int, pdu: bytes) -> Decoded:
    (address,) = _one(pdu, 1)
    return {"target": {"unit": unit, "table": "fifo", "address": address}}, len(pdu) == 3


def _queue(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    size, count = _two(pdu, 1)
    if size != 2 + 2 * count or len(pdu) != 3 + size:
        return {}, False
    return {"read": {"values": _registers(pdu[5:])}}, True


def _encapsulate(unit: int, pdu: bytes) -> Decoded:
    fields: Fields = {"target": {"unit": unit}}
    if pdu[1] == IDENTIFY:
        fields["identification"] = {"code": pdu[2], "object": pdu[3]}
        return fields, len(pdu) == 4
    fields["encapsulated"] = {"mei": pdu[1], "data": pdu[2:]}
    return fields, pdu[1] in _MEI_TYPES


def _encapsulated(unit: int, pdu: bytes, request: bytes | None) -> Decoded:
    if pdu[1] != IDENTIFY:
        fits = pdu[1] in _MEI_TYPES and (request is None or request[1:2] == pdu[1:2])
        return {"read": {"mei": pdu[1], "data": pdu[2:]}}, fits
    identification = {"code": pdu[2], "conformity": pdu[3], "more_follows": pdu[4], "next_object": pdu[5]}
    objects: dict[str, str] = {}
    at = 7
    for _ in range(pdu[6]):
        start, end = at + 2, at + 2 + pdu[at + 1]
        objects[str(pdu[at])] = pdu[start:end].decode("utf-8", "replace")
        at = end
    whole = at == len(pdu) and (request is None or request[1:2] == bytes([IDENTIFY]))
    return ({"identification": {**identification, "objects": objects}}, True) if whole else ({}, False)


def _registers(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))


REQUESTS: Final[dict[int, Callable[[int, bytes], Decoded]]] = {
    **dict.fromkeys((7, 11, 12, 17), _bare),
    8: _diagnose,
    20: _read_files,
    21: _write_files,
    24: _read_queue,
    43: _encapsulate,
}

RESPONSES: Final[dict[int, Callable[[int, bytes, bytes | None], Decoded]]] = {
    7: _exception_status,
    8: _diagnosis,
    11: _event_counter,
    12: _event_log,
    17: _server_id,
    20: _files_read,
    21: _files_written,
    24: _queue,
    43: _encapsulated,
}
