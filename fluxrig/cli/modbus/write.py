"""`fluxrig modbus write`: set one value, seeing what was there before and what is there then."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.modbus.options import (
    At,
    BaseOption,
    EncodingOption,
    LengthOption,
    OffsetOption,
    OrderOption,
    ScaleOption,
    TimeoutOption,
    TlsOption,
    TypeOption,
    UnitOption,
    Url,
    base_of,
    tag_of,
)
from fluxrig.cli.modbus.read import in_short
from fluxrig.errors import FluxrigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxrig.cli.modbus.device import Device, Target
    from fluxrig.modbus.encode import Encoded
    from fluxrig.modbus.pdu import Request
    from fluxrig.modbus.tag import Tag, Value

READ_BACK_S = 1.0
READ_BACK_PAUSE_S = 0.1
WORDS = {"true": True, "on": True, "false": False, "off": False}


def write(
    url: Url,
    at: At,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            help="A number, true or false, or text; -- before a negative one.",
            show_default=False,
        ),
    ],
    type_: TypeOption = None,
    order: OrderOption = None,
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    length: LengthOption = None,
    encoding: EncodingOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    several: Annotated[
        bool,
        typer.Option("--multiple", help="Write one coil or register with function 15 or 16 too."),
    ] = False,
    modify: Annotated[
        bool,
        typer.Option(
            "--read-modify-write",
            help="Set a part of a register by writing it whole, for a device without function 22.",
        ),
    ] = False,
    read_back: Annotated[
        bool, typer.Option("--read-back/--no-read-back", help="Read afterwards whether it is there.")
    ] = True,
    unit: UnitOption = 1,
    address_base: BaseOption = "0",
    timeout: TimeoutOption = "1s",  # type: ignore[assignment]
    tls: TlsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one value: shows old -> new, asks, writes, and reads it back.

    Only coils and holding registers can be written. Exits with 1 when the device refuses, or when something
    else stands there afterwards.
    """
    from fluxrig.cli.modbus.device import target_of
    from fluxrig.modbus.address import WRITABLE_TABLES
    from fluxrig.modbus.encode import encode_value

    target, base = target_of(url, timeout, tls), base_of(address_base)
    tag = tag_of(
        at, base, type=type_, order=order, scale=scale, offset=offset, length=length, encoding=encoding
    )
    if tag.at.table not in WRITABLE_TABLES:
        raise typer.BadParameter(f"{tag.at} can't be written; only coils and holding registers can")
    try:
        new = parse_value(value, tag)
        encoded = encode_value(tag, new)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="VALUE") from None
    if not yes and (as_json or not _somebody_is_there()):
        raise typer.BadParameter("nobody can be asked here; say --yes to write all the same")
    job = Job(tag, new, encoded, unit, several=several, modify=modify, read_back=read_back)
    outcome = asyncio.run(job.run(target, confirm=None if yes else _confirm))
    if as_json:
        print_json({"endpoint": url, "unit": unit, "at": str(tag.at), **outcome})
    elif outcome["written"] and read_back:
        typer.echo(f"{tag.at} now reads {_shown(outcome['read_back'])}")
    if not outcome["written"]:
        raise typer.Exit(1)
    if read_back and outcome["read_back"] != outcome["new"]:
        there, wanted = _shown(outcome["read_back"]), _shown(outcome["new"])
        raise FluxrigError(
            f"the device took the write, but {READ_BACK_S:g} s later {tag.at} reads {there}, not {wanted}"
        )


def parse_value(text: str, tag: Tag) -> Value:
    """Read a value from the command line as the tag's type needs it. Raises ValueError."""
    if tag.type == "string":
        return text
    if tag.type == "bool" and text.lower() in WORDS:
        return WORDS[text.lower()]
    for parse in (lambda: int(text, 0), lambda: float(text)):
        try:
            return parse()
        except ValueError:
            continue
    raise ValueError(f"{text[:40]!r} is {'neither true nor false' if tag.type == 'bool' else 'no number'}")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _confirm(old: str, new: str) -> bool:
    return typer.confirm(f"{old} -> {new}; write?", err=True)


class Job:
    """One write, with what goes before and after it."""

    def __init__(
        self,
        tag: Tag,
        new: Value,
        encoded: Encoded,
        unit: int,
        *,
        several: bool,
        modify: bool,
        read_back: bool,
    ) -> None:
        self._tag, self._encoded, self._unit = tag, encoded, unit
        self._new = _as_read(tag, encoded, new)
        self._several, self._modify, self._read_back = several, modify, read_back

    async def run(self, target: Target, confirm: Callable[[str, str], bool] | None) -> dict[str, Any]:
        """Do it, and say what was and what is."""
        from fluxrig.cli.modbus.device import Device

        async with Device(target) as device:
            old = await self._read(device)
            outcome: dict[str, Any] = {"old": old, "new": self._new, "written": False}
            if confirm is not None and not confirm(_shown(old), _shown(self._new)):
                return outcome
            if confirm is None:
                typer.echo(f"{self._tag.at}: {_shown(old)} -> {_shown(self._new)}", err=True)
            await self._write(device)
            outcome["written"] = True
            if self._read_back:
                outcome["read_back"] = await self._read_until_there(device)
            return outcome

    async def _read_until_there(self, device: Device) -> Any:
        """Read until the new value is there, for a while: a gateway may take its time to pass it on."""
        deadline_s = asyncio.get_running_loop().time() + READ_BACK_S
        while (there := await self._read(device)) != self._new:
            if asyncio.get_running_loop().time() > deadline_s:
                break
            await asyncio.sleep(READ_BACK_PAUSE_S)
        return there

    async def _read(self, device: Device) -> Any:
        """Give what stands there; None where that can't be read."""
        from fluxrig.cli.modbus.read import as_value
        from fluxrig.modbus.plan import Block

        (reading,) = await device.read_blocks(self._unit, [Block.of([self._tag])])
        return as_value(reading)["value"]

    async def _write(self, device: Device) -> None:
        from fluxrig.cli.modbus.device import RefusedError

        what = f"writing {self._tag.at}"
        try:
            await device.do(self._unit, await self._request(device), what)
        except RefusedError as refused:
            if refused.code == 1 and self._is_part and not self._modify:
                raise FluxrigError(
                    "the device can't write a part of a register (function 22); --read-modify-write reads "
                    "it and writes it whole, which may undo what somebody else writes to it meanwhile"
                ) from None
            if refused.code == 1 and not self._several:
                raise FluxrigError(f"{refused}; some devices take --multiple only") from None
            raise

    @property
    def _is_part(self) -> bool:
        from fluxrig.modbus.encode import WHOLE

        return self._tag.at.table == "holding" and self._encoded.mask != WHOLE

    async def _request(self, device: Device) -> Request:
        from fluxrig.modbus import pdu

        tag, payload, mask = self._tag, self._encoded.payload, self._encoded.mask
        if tag.at.table == "coil":
            on = bool(payload[0])
            return pdu.write_coils(tag.start, [on]) if self._several else pdu.write_coil(tag.start, on)
        if self._is_part:
            if not self._modify:
                return pdu.mask_write(tag.start, payload, mask)
            whole = int.from_bytes(await device.read(self._unit, "holding", tag.start, 1))
            payload = (whole & ~mask | int.from_bytes(payload) & mask).to_bytes(2)
        if tag.size == 1 and not self._several:
            return pdu.write_register(tag.start, payload)
        return pdu.write_registers(tag.start, payload)


def _as_read(tag: Tag, encoded: Encoded, new: Value) -> Value:
    """Give what will be read back when all goes well: a float32 of 0.1 is not quite 0.1."""
    from fluxrig.modbus.decode import decode_value

    return bool(new) if tag.at.table == "coil" else decode_value(tag, encoded.payload)


def _shown(value: Any) -> str:
    return "(can't be read)" if value is None else in_short(value)
