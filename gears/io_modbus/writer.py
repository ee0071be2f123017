"""Writes, and an account of each: what stood there, what stands there now, who asked, why it was refused.

A write that got no answer is not tried again: whether the device took it is not known, as the account says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from fluxrig.errors import BadMessage
from fluxrig.gear import Context
from fluxrig.message import FluxMsg
from fluxrig.modbus.decode import MeaninglessError, decode_value
from fluxrig.modbus.encode import encode_value
from fluxrig.modbus.pdu import MASK_WRITE, Refusal, Request, read_request
from fluxrig.modbus.quality import ILLEGAL_FUNCTION, exception_reason
from fluxrig.modbus.tag import Tag, Value
from gears.io_modbus.terms import Lost
from gears.io_modbus.unit import Unit
from gears.io_modbus.write_plan import Wish, Write, plan_writes

WRITE: Final = "fluxrig.write/1"

Status: TypeAlias = Literal["written", "refused", "rejected", "failed", "unknown", "differs"]
"""Written; refused by us; rejected by the device; not sent; no answer; read back with another value."""

_Values: TypeAlias = Mapping[str, Value | None]


@dataclass(slots=True)
class _Account:
    """What came of one request."""

    status: Status = "written"
    reason: str | None = None
    old: _Values = field(default_factory=dict)
    new: _Values = field(default_factory=dict)
    ts: int | None = None


class Writer:
    """Writes the tags of one gear's units."""

    def __init__(self, units: Iterable[Unit], context: Context) -> None:
        self._context = context
        self._units = {unit.device.name: unit for unit in units}

    async def write(self, messages: Iterable[FluxMsg]) -> list[FluxMsg]:
        """Write what messages ask for, and give the account of each tag, whatever the device did."""
        accounts: list[FluxMsg] = []
        wishes: dict[str, list[Wish]] = {}
        for message in messages:
            for key, value in message.fields["data"].items():
                if (place := self._place(key)) is None:
                    accounts.append(self._unknown(message, key, value))
                    continue
                unit, name = place
                try:
                    wish = _wish(message, unit, name, value)
                except BadMessage as error:
                    refused = _Account("refused", str(error))
                    accounts.append(self._message(message, unit, name, value, refused))
                else:
                    wishes.setdefault(unit.device.name, []).append(wish)
        for name, wanted in wishes.items():
            unit = self._units[name]
            for write in _plan(unit, wanted):
                async with unit.owner.writing:
                    account = await _fulfil(unit, write)
                accounts += [
                    self._message(wish.message, unit, wish.tag.name, wish.value, account)
                    for wish in write.wishes
                ]
        return accounts

    def _place(self, key: str) -> tuple[Unit, str] | None:
        """Give the unit and the name of the tag that is meant, if there is one."""
        device, _, name = key.partition("/")
        for unit_name, tag_name in ((device, name), ("", key)):
            unit = self._units.get(unit_name)
            if unit is not None and tag_name in unit.device.tags:
                return unit, tag_name
        return None

    def _unknown(self, message: FluxMsg, key: str, value: Any) -> FluxMsg:
        known = "" if "" in self._units else "; write <device>/<tag>"
        reason = f"there is no tag {key[:128]!r}{known}"
        data = {"tag": key, "asked": value, "status": "refused", "reason": reason, "by": message.src}
        return self._context.message(data, schema=WRITE, ref=message.id)

    def _message(self, asking: FluxMsg, unit: Unit, name: str, value: Any, account: _Account) -> FluxMsg:
        device = unit.device
        data = {
            "tag": name,
            "at": str(device.decoded[name].at),
            "unit": device.unit,
            "asked": value,
            "old": account.old.get(name),
            "new": account.new.get(name),
            "status": account.status,
            "by": asking.src,
        }
        if account.reason:
            data["reason"] = account.reason
        uns = f"{self._context.uns}/{device.name}" if device.name else None
        return self._context.message(data, schema=WRITE, ts=account.ts, ref=asking.id, uns=uns)


def _wish(message: FluxMsg, unit: Unit, name: str, value: Any) -> Wish:
    """Give what to write. Raises BadMessage that says why it is refused."""
    config, tag = unit.device.tags[name], unit.device.decoded[name]
    if reason := config.refusal_of(value):
        raise BadMessage(reason)
    try:
        encoded = encode_value(tag, value)
    except ValueError as error:
        raise BadMessage(str(error)) from None
    return Wish(message, tag, value, encoded, config.read_back)


def _plan(unit: Unit, wanted: Iterable[Wish]) -> Iterable[Write]:
    return plan_writes(wanted, single=unit.device.settings.single_writes, limits=unit.device.limits)


async def _fulfil(unit: Unit, write: Write) -> _Account:
    """Read what stands there, write, read back where that is asked for."""
    if unit.away is not None:
        return _Account("failed", unit.away.reason)
    account, request = _Account(), write.request
    try:
        old = await _read(unit, write)
    except Lost as lost:
        return _Account("failed", lost.reason)
    account.old = _values(write, old)
    if write.partial and unit.device.settings.read_modify_write:
        if old is None:
            return _Account("failed", "the register can't be read, so a part of it can't be written")
        request = write.whole(old)
    try:
        answer = await unit.ask(request, urgent=True, busy_retries=unit.device.settings.busy_retries)
        account.ts = answer.answered_ns
        account.new = {wish.tag.name: _written(wish) for wish in write.wishes}
    except Refusal as refusal:
        account.status, account.reason = "rejected", _reason(refusal.code, request)
        return account
    except Lost as lost:
        account.status, account.reason = "unknown", lost.reason
    if any(wish.read_back for wish in write.wishes):
        await _read_back(unit, write, account)
    return account


async def _read_back(unit: Unit, write: Write, account: _Account) -> None:
    """Let what the device has now decide, also where the write got no answer."""
    try:
        account.new = _values(write, await _read(unit, write))
    except Lost as lost:
        account.status, account.reason, account.new = "unknown", lost.reason, {}
        return
    same = all(account.new.get(wish.tag.name) == _written(wish) for wish in write.wishes)
    account.status = "written" if same else "differs"
    account.reason = None if same else "the device has another value"


def _written(wish: Wish) -> Value:
    """Give the value as reading it gives it: rounded to what the register can hold."""
    return decode_value(wish.tag, wish.encoded.payload)


async def _read(unit: Unit, write: Write) -> bytes | None:
    """Give the bytes that stand there; None if the device does not say. Raises Lost."""
    span = write.span
    request = read_request(span.table, span.start, span.end - span.start)
    try:
        answer = await unit.ask(request, urgent=True, busy_retries=unit.device.settings.busy_retries)
    except Refusal:
        return None
    return answer.payload


def _values(write: Write, payload: bytes | None) -> _Values:
    if payload is None:
        return {}
    return {wish.tag.name: _value(wish.tag, write.span.start, payload) for wish in write.wishes}


def _reason(code: int, request: Request) -> str:
    """Give the name of the exception, and the mend where there is one."""
    lacks_mask = code == ILLEGAL_FUNCTION and request.function == MASK_WRITE
    mend = "; it lacks function 22, see read_modify_write" if lacks_mask else ""
    return exception_reason(code) + mend


def _value(tag: Tag, start: int, payload: bytes) -> Value | None:
    place = tag.start - start
    if tag.at.table == "coil":
        return bool(payload[place >> 3] >> (place & 7) & 1)
    try:
        return decode_value(tag, payload[place * 2 : (place + tag.size) * 2])
    except MeaninglessError:
        return None
