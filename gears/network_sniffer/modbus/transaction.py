"""The data of `ot.transaction/1`: one exchange, the address beside the values. Pure.

What is asked is the same again and again, and so is most of what is answered: decoded and encoded once, it is
kept for a while, and messages share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from fluxrig.cbor import Fixed
from fluxrig.modbus.quality import EXCEPTIONS
from gears.network_sniffer.exchange import Usual
from gears.network_sniffer.modbus.frame import MAX_LENGTH, Adu
from gears.network_sniffer.modbus.pdu import (
    EXCEPTION,
    NAMES,
    decode_request,
    decode_response,
    is_public,
)
from gears.network_sniffer.modbus.rare import Decoded, Fields

Unanswered: TypeAlias = Literal["timeout", "lost"]

_OPS: Final = [Fixed({"fc": fc, **({"name": NAMES[fc]} if fc in NAMES else {})}) for fc in range(256)]
_KEPT_REQUEST: Final = 16
"""Requests longer than this are decoded each time."""


def exchange(flow: Mapping[str, Any], request: Adu, response: Adu) -> Fields:
    """Describe a request and the response to it."""
    fields, fits = _asked(request.unit, request.pdu)
    status, read = _answered(response.unit, response.pdu, request.pdu if fits else None)
    asked: Fields = {"ts": request.ts, "frame": request.frame, "length": request.length}
    answered: Fields = {"ts": response.ts, "frame": response.frame, "length": response.length}
    data: Fields = {
        **fields,
        "op": _OPS[request.pdu[0]],
        "tid": request.tid,
        "flow": flow,
        "request": asked,
        "response": answered,
        **read,
        "status": status,
    }
    if response.ts >= request.ts:
        data["latency_us"] = (response.ts - request.ts) // 1000
    if not (request.whole and response.whole):
        data["status"] = status = "truncated"
        _forget_values(data)
    elif status == "ok" and not fits:
        data["status"] = status = "malformed"
    if request.tid < 0:
        del data["tid"]
    if response.pdu[0] & EXCEPTION or request.length > MAX_LENGTH or response.length > MAX_LENGTH:
        _add_integrity(data, request, response)
    if status in ("malformed", "truncated") or not is_public(request.pdu):
        asked["pdu"], answered["pdu"] = request.pdu, response.pdu
    return data


@lru_cache(4096)
def repeated(unit: int, request: bytes, response: bytes) -> Usual | None:
    """Give what an exchange says that went as the specification wants it, by its PDUs; None for any other."""
    if not is_public(request) or max(len(request), len(response)) >= MAX_LENGTH:
        return None
    fields, fits = _asked(unit, request)
    status, read = _answered(unit, response, request if fits else None)
    if not fits or status == "malformed" or (status == "exception" and len(response) > 2):
        return None
    told = {**fields, "op": _OPS[request[0]], **read, "status": status}
    return Usual(told, len(request) + 1, len(response) + 1)


def unanswered(flow: Mapping[str, Any], request: Adu, status: Unanswered, reason: str) -> Fields:
    """Describe a request that got no response."""
    fields, fits = _asked(request.unit, request.pdu)
    asked: Fields = {"ts": request.ts, "frame": request.frame, "length": request.length}
    data: Fields = {**fields, "op": _OPS[request.pdu[0]], "flow": flow, "request": asked}
    if request.tid >= 0:
        data["tid"] = request.tid
    data["status"] = status if request.whole else "truncated"
    data["reason"] = reason
    _add_integrity(data, request)
    if not request.whole:
        _forget_values(data)
    if not fits or not request.whole or not is_public(request.pdu):
        asked["pdu"] = request.pdu
    return data


def orphan(flow: Mapping[str, Any], response: Adu) -> Fields:
    """Describe a response whose request was not seen: its values are real, their addresses unknown."""
    status, fields = _answered(response.unit, response.pdu, None)
    answered: Fields = {"ts": response.ts, "frame": response.frame, "length": response.length}
    data: Fields = {"target": {"unit": response.unit}, **fields}
    data["op"] = _OPS[response.pdu[0] & ~EXCEPTION]
    data["flow"] = flow
    data["response"] = answered
    if response.tid >= 0:
        data["tid"] = response.tid
    data["status"] = "malformed" if status == "malformed" else "orphan_response"
    if not response.whole:
        data["status"] = "truncated"
        _forget_values(data)
    _add_integrity(data, response)
    if not response.whole or status == "malformed" or not is_public(response.pdu):
        answered["pdu"] = response.pdu
    return data


def _asked(unit: int, pdu: bytes) -> Decoded:
    return _asked_before(unit, pdu) if len(pdu) <= _KEPT_REQUEST else decode_request(unit, pdu)


@lru_cache(8192)
def _asked_before(unit: int, pdu: bytes) -> Decoded:
    fields, fits = decode_request(unit, pdu)
    return _fixed(fields), fits


def _answered(unit: int, pdu: bytes, request: bytes | None) -> tuple[str, Fields]:
    if pdu[0] & EXCEPTION:
        if len(pdu) < 2:
            return "malformed", {}
        name = EXCEPTIONS.get(pdu[1])
        return "exception", {"exception": {"code": pdu[1], **({"name": name} if name else {})}}
    fields, fits = decode_response(unit, pdu, request)
    return ("ok" if fits else "malformed"), fields


def _fixed(fields: Fields) -> Fields:
    return {name: Fixed(value) for name, value in fields.items()}


def _forget_values(data: Fields) -> None:
    """What was cut has no values that could be trusted."""
    for name in ("read", "write", "identification", "diagnostics", "encapsulated"):
        data.pop(name, None)


def _add_integrity(data: Fields, *adus: Adu) -> None:
    """Tell what was read in spite of a breach of the specification."""
    for adu in adus:
        if adu.length > MAX_LENGTH:
            data["integrity"] = "oversize"
            return
        if adu.pdu[0] & EXCEPTION and len(adu.pdu) > 2:
            data["integrity"] = "trailing_bytes"
