"""`fluxrig modbus read`: what stands at an address now."""

from __future__ import annotations

import asyncio
import math
import struct
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
from fluxrig.errors import FluxrigError

if TYPE_CHECKING:
    from fluxrig.cli.modbus.device import Reading, Target
    from fluxrig.modbus.tag import Tag

MAX_COUNT = 10_000
MAX_FLOAT32 = 3.4e38


def read(
    url: Url,
    at: At,
    type_: TypeOption = None,
    order: OrderOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MAX_COUNT, help="How many values.")] = 1,
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    length: LengthOption = None,
    encoding: EncodingOption = None,
    guess: Annotated[
        bool,
        typer.Option("--guess", help="Show the value under every type and order, to see which is right."),
    ] = False,
    expect: Annotated[
        float | None,
        typer.Option(
            help="With --guess: what the device's own display says; what comes near is marked.",
            show_default=False,
        ),
    ] = None,
    unit: UnitOption = 1,
    address_base: BaseOption = "0",
    timeout: TimeoutOption = "1s",  # type: ignore[assignment]
    tls: TlsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read values from a device and print them, with the registers that they come from.

    A value that the device refuses shows the reason in its place; the command then exits with 1.
    """
    from fluxrig.cli.modbus import guess as guessing
    from fluxrig.cli.modbus.device import target_of

    target, base = target_of(url, timeout, tls), base_of(address_base)
    if expect is not None and not guess:
        raise typer.BadParameter("it goes with --guess", param_hint="--expect")
    if guess:
        place = tag_of(at, base)
        guessing.run(target, place.at, unit, expect, as_json=as_json)
        return
    tag = tag_of(
        at, base, type=type_, order=order, scale=scale, offset=offset, length=length, encoding=encoding
    )
    readings = asyncio.run(_read(target, row(tag, count), unit))
    values = [as_value(reading) for reading in readings]
    if as_json:
        print_json({"endpoint": url, "unit": unit, "values": values})
    elif count > 1 or "reason" not in values[0]:
        _show(values)
    refused = [reading.refused for reading in readings if reading.refused is not None]
    if bad := [value for value in values if "reason" in value]:
        many = "" if count == 1 else f"{len(bad)} of {count} can't be read; the first: "
        raise FluxrigError(f"{many}{refused[0] if refused else bad[0]['at'] + ': ' + bad[0]['reason']}")


def row(tag: Tag, count: int) -> list[Tag]:
    """Give `count` tags like this one, one behind the other."""
    from dataclasses import replace

    from fluxrig.modbus.address import MAX_ADDRESS, Address

    tags = []
    for n in range(count):
        number, bit = tag.start + n * tag.size, tag.at.bit
        if bit is not None:
            number, bit = tag.start + (bit + n) // 16, (bit + n) % 16
        if number + tag.size - 1 > MAX_ADDRESS:
            raise typer.BadParameter(
                f"{count} values end beyond {tag.at.table}/{MAX_ADDRESS}", param_hint="--count"
            )
        place = Address(tag.at.table, number, bit)
        tags.append(replace(tag, name=str(place), at=place))
    return tags


async def _read(target: Target, tags: list[Tag], unit: int) -> list[Reading]:
    from fluxrig.cli.modbus.device import Device
    from fluxrig.modbus.plan import plan

    async with Device(target) as device:
        return await device.read_blocks(unit, plan(tags, max_hole=0))


def as_value(reading: Reading) -> dict[str, Any]:
    """Give what there is to say of one reading: value, registers, or the reason why there is none."""
    from fluxrig.modbus.decode import MeaninglessError, decode_value
    from fluxrig.modbus.quality import exception_reason

    tag = reading.tag
    if reading.refused is not None:
        return {"at": tag.name, "value": None, "reason": exception_reason(reading.refused.code)}
    said: dict[str, Any] = {"at": tag.name}
    try:
        value = decode_value(tag, reading.payload)
        said["value"] = value if not isinstance(value, float) or math.isfinite(value) else str(value)
    except MeaninglessError as error:
        said |= {"value": None, "reason": error.reason}
    if tag.at.table in {"holding", "input"}:
        said["registers"] = registers(reading.payload)
    return said


def registers(payload: bytes) -> list[str]:
    """Give registers as people write them, in hex."""
    return [f"0x{payload[n : n + 2].hex()}" for n in range(0, len(payload), 2)]


def _show(values: list[dict[str, Any]]) -> None:
    wide = max(len(value["at"]) for value in values)
    for value in values:
        if value["value"] is None:
            typer.echo(f"{value['at']:{wide}}  -  {value['reason']}")
            continue
        shown, raw = in_short(value["value"]), " ".join(value.get("registers", ()))
        typer.echo(f"{value['at']:{wide}}  {shown:<24}  {raw}".rstrip())


def in_short(value: Any) -> str:
    """Give a value for people: a float32 with the fewest digits that mean it, so 4.2, not 4.199999809."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and abs(value) < MAX_FLOAT32 and value == _float32(value):
        texts = (f"{value:.{digits}g}" for digits in range(6, 18))
        return next(text for text in texts if _float32(float(text)) == value)
    return str(value)


def _float32(value: float) -> float:
    single: float = struct.unpack(">f", struct.pack(">f", value))[0]
    return single
