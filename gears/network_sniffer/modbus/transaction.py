"""The data of `ot.transaction/1`: one exchange, the address beside the values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from gears.network_sniffer.modbus.frame import MAX_LENGTH, Adu
from gears.network_sniffer.modbus.pdu import (
    EXCEPTION,
    EXCEPTIONS,
    NAMES,
    Fields,
    decode_request,
    decode_response,
    is_public,
)

Unanswered: TypeAlias = Literal["timeout", "lost"]

_OPS: Final = {fc: {"fc": fc, **({"name": NAMES[fc]} if fc in NAMES else {})} for fc in range(256)}


def exchange(flow: Mapping[str, Any], request: Adu, response: Adu) -> Fields:
    """Describe a request and the response to it."""
    data, fits = decode_request(request.unit, request.pdu)
    data["op"] = _OPS[request.pdu[0]]
    data["tid"] = request.tid
    data["flow"] = flow
    data["request"] = asked = _part(request)
    data["response"] = answered = _part(response)
    if response.ts >= request.ts:
        data["latency_us"] = (response.ts - request.ts) // 1000
    status, read = _answer(request.unit, response, request.pdu if fits else None)
    data.update(read)
    if not (request.whole and response.whole):
        status = "truncated"
        _forget_values(data)
    elif status == "ok" and not fits:
        status = "malformed"
    data["status"] = status
    _add_integrity(data, request, response)
    if not is_public(request.pdu) or status in ("malformed", "truncated"):
        asked["pdu"], answered["pdu"] = request.pdu, response.pdu
    return data


def unanswered(flow: Mapping[str, Any], request: Adu, status: Unanswered, reason: str) -> Fields:
    """Describe a request that got no response."""
    data, fits = decode_request(request.unit, request.pdu)
    data["op"] = _OPS[request.pdu[0]]
    data["tid"] = request.tid
    data["flow"] = flow
    data["request"] = asked = _part(request)
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
    status, fields = _answer(response.unit, response, None)
    data: Fields = {"target": {"unit": response.unit}, **fields}
    data["op"] = _OPS[response.pdu[0] & ~EXCEPTION]
    data["tid"] = response.tid
    data["flow"] = flow
    data["response"] = answered = _part(response)
    data["status"] = "malformed" if status == "malformed" else "orphan_response"
    if not response.whole:
        data["status"] = "truncated"
    _add_integrity(data, response)
    if not response.whole:
        _forget_values(data)
    if not response.whole or status == "malformed" or not is_public(response.pdu):
        answered["pdu"] = response.pdu
    return data


def _part(adu: Adu) -> dict[str, Any]:
    return {"ts": adu.ts, "frame": adu.frame, "length": adu.length}


def _answer(unit: int, response: Adu, request: bytes | None) -> tuple[str, Fields]:
    pdu = response.pdu
    if pdu[0] & EXCEPTION:
        if len(pdu) < 2:
            return "malformed", {}
        name = EXCEPTIONS.get(pdu[1])
        return "exception", {"exception": {"code": pdu[1], **({"name": name} if name else {})}}
    fields, fits = decode_response(unit, pdu, request)
    return ("ok" if fits else "malformed"), fields


def _forget_values(data: Fields) -> None:
    """What was cut has no values that could be trusted."""
    for name in ("read", "write", "identification"):
        data.pop(name, None)


def _add_integrity(data: Fields, *adus: Adu) -> None:
    """Tell what was read in spite of a breach of the specification."""
    if any(adu.length > MAX_LENGTH for adu in adus):
        data["integrity"] = "oversize"
    elif any(adu.pdu[0] & EXCEPTION and len(adu.pdu) > 2 for adu in adus):
        data["integrity"] = "trailing_bytes"
