"""What registers mean under every type and order, so that a person sees which is right."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import typer

from fluxrig.cli.console import print_json
from fluxrig.cli.modbus.device import Device, RefusedError, Target
from fluxrig.cli.modbus.read import registers
from fluxrig.modbus.address import BIT_TABLES, MAX_ADDRESS, Address
from fluxrig.modbus.decode import MeaninglessError, decode_value
from fluxrig.modbus.quality import ILLEGAL
from fluxrig.modbus.tag import Tag, Value
from fluxrig.modbus.value_type import FORMS, PART_TYPES, SHORT_ORDERS, Order, ValueType

MOST: Final = 4
"""Registers of the longest number."""
TEXT: Final = 16
"""Registers that are tried as text."""
POWERS: Final = (0, -1, -2, -3, 1, 2, 3)
"""Scales that devices use, as powers of ten, the likeliest first."""
NEAR: Final = 0.01
"""How far from the display a value may be: it moves on while somebody reads it out."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What the registers would mean."""

    type: ValueType
    order: Order
    value: Value | None
    scale: float | None = None
    """What the value has to be multiplied with to come near the display."""

    def as_json(self) -> dict[str, Any]:
        value = self.value
        shown = str(value) if isinstance(value, float) and not math.isfinite(value) else value
        return {"type": self.type, "order": self.order, "value": shown, "scale": self.scale}


def guesses(payload: bytes, expect: float | None = None) -> Iterator[Guess]:
    """Give what these registers mean, as each type and order that is long enough and makes a difference."""
    for value_type, form in FORMS.items():
        if value_type == "bool" or form.registers * 2 > len(payload):
            continue
        orders: tuple[Order, ...] = SHORT_ORDERS if form.registers > 1 else ("ABCD", "BADC")
        for order in ("ABCD",) if value_type in PART_TYPES else orders:
            value = _value(value_type, order, payload[: form.registers * 2])
            yield Guess(value_type, order, value, _scale(value, expect))
    for order in ("ABCD", "BADC"):
        text = _value("string", order, payload)
        if isinstance(text, str) and len(text) > 1 and text.isprintable():
            yield Guess("string", order, text)


def _value(value_type: ValueType, order: Order, payload: bytes) -> Value | None:
    tag = Tag("guess", Address("holding", 0), value_type, order, length=len(payload))
    try:
        return decode_value(tag, payload)
    except MeaninglessError:
        return None


def _scale(value: Value | None, expect: float | None) -> float | None:
    """Give the power of ten that brings a value near what the display says, if there is one."""
    if expect is None or value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    powers = POWERS if value else POWERS[:1]
    return next(
        (10.0**power for power in powers if math.isclose(value * 10.0**power, expect, rel_tol=NEAR)), None
    )


def run(target: Target, at: Address, unit: int, expect: float | None, *, as_json: bool) -> None:
    """Read the registers from `at` on, and show what they may mean."""
    if at.table in BIT_TABLES:
        raise typer.BadParameter(f"{at} is one bit; there is nothing to guess")
    payload = asyncio.run(_read(target, at, unit))
    found = list(guesses(payload, expect))
    if as_json:
        document = {"at": str(at), "unit": unit, "registers": registers(payload)}
        print_json({**document, "guesses": [guess.as_json() for guess in found]})
        return
    typer.echo(f"{at}: {' '.join(registers(payload))}   bits {int.from_bytes(payload[:2]):016b}\n")
    _show(found)
    _advise(found, at, expect)


async def _read(target: Target, at: Address, unit: int) -> bytes:
    """Read as many registers as the device gives: text is long, the last address may be near."""
    async with Device(target) as device:
        for count in (TEXT, MOST, 2, 1):
            try:
                return await device.read(unit, at.table, at.number, min(count, MAX_ADDRESS + 1 - at.number))
            except RefusedError as refused:
                if refused.code not in ILLEGAL or count == 1:
                    raise
    raise AssertionError("unreachable")


def _show(found: list[Guess]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = {(guess.type, guess.order): guess for guess in found}
    table = Table("type", *SHORT_ORDERS, box=None, pad_edge=False, header_style="bold")
    for value_type in dict.fromkeys(guess.type for guess in found):
        table.add_row(value_type, *(_cell(cells.get((value_type, order)), Text) for order in SHORT_ORDERS))
    Console(highlight=False).print(table)


def _cell(guess: Guess | None, text: Any) -> Any:
    if guess is None or guess.value is None:
        return text("")
    is_long = isinstance(guess.value, float) or (isinstance(guess.value, int) and abs(guess.value) > 10**12)
    shown = f"{guess.value:.7g}" if is_long else str(guess.value)
    if guess.scale is not None:
        return text(
            f"{shown} <==" if guess.scale == 1 else f"{shown} <== scale {guess.scale:g}", style="bold green"
        )
    return text(shown, style="" if _is_likely(guess.value) else "dim")


def _is_likely(value: Value) -> bool:
    """Say whether a person would expect such a number of a plant."""
    return not isinstance(value, float) or value == 0 or 1e-4 <= abs(value) < 1e7


def _advise(found: list[Guess], at: Address, expect: float | None) -> None:
    if expect is None:
        typer.echo("\nCompare with the device's display, or let --expect VALUE mark what comes near it.")
        return
    near = [guess for guess in found if guess.scale is not None]
    if not near:
        typer.echo(f"\nNothing here is {expect:g}; try the addresses beside it: manuals often count from 1.")
        return
    typer.echo("\nIn a Rack file:")
    for guess in sorted(near, key=lambda guess: guess.scale != 1)[:3]:
        order = f", order: {guess.order}" if guess.order != "ABCD" else ""
        scale = f", scale: {guess.scale:g}" if guess.scale != 1 else ""
        typer.echo(f"  {{at: {at}, type: {guess.type}{order}{scale}}}")
