"""What the Modbus commands ask for alike: where the device is, and what a value there means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from fluxrig.cli.options import seconds
from fluxrig.modbus.address import AddressBase
from fluxrig.modbus.value_type import Encoding, Order, ValueType

if TYPE_CHECKING:
    from fluxrig.modbus.tag import Tag

Url: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="The device: tcp://host:502, tls://host:802, udp://host:502, rtu:///dev/ttyUSB0?baud=19200, "
        "ascii:///dev/…, rtu+tcp://host:port.",
        show_default=False,
    ),
]
At: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="AT",
        help="The place: holding/0, input/7, coil/3, discrete/3, holding/10.3 for a bit, or 40001.",
        show_default=False,
    ),
]
UnitOption: TypeAlias = Annotated[
    int, typer.Option("--unit", "-u", min=0, max=255, help="The unit identifier (slave address).")
]
TimeoutOption: TypeAlias = Annotated[
    float,
    typer.Option("--timeout", parser=seconds, metavar="DURATION", help="How long to wait for an answer."),
]
BaseOption: TypeAlias = Annotated[
    Literal["0", "1"], typer.Option("--address-base", help="What the first address is called.")
]
TypeOption: TypeAlias = Annotated[
    ValueType | None,
    typer.Option("--type", "-t", help="What the value is.", show_default="bool for bits, else uint16"),
]
OrderOption: TypeAlias = Annotated[
    Order | None,
    typer.Option("--order", "-o", help="The bytes as they come, A the highest.", show_default="ABCD"),
]
ScaleOption: TypeAlias = Annotated[
    float | None, typer.Option("--scale", help="What the value is multiplied with.", show_default=False)
]
OffsetOption: TypeAlias = Annotated[
    float | None, typer.Option("--offset", help="What is added after that.", show_default=False)
]
LengthOption: TypeAlias = Annotated[
    int | None, typer.Option("--length", help="The bytes of a string.", show_default=False)
]
EncodingOption: TypeAlias = Annotated[
    Encoding | None, typer.Option("--encoding", help="How a string is read.", show_default="utf-8")
]


TlsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--tls",
        metavar="KEY=VALUE",
        help="For tls://, given once for each of: ca=FILE, certificate=FILE, key=FILE, server_name=NAME, "
        "verify=false.",
        show_default=False,
    ),
]


def base_of(text: str) -> AddressBase:
    return 1 if text == "1" else 0


def tag_of(at: str, base: AddressBase, **said: object) -> Tag:
    """Make the tag that options describe. Raises typer.BadParameter."""
    from pydantic import ValidationError

    from fluxrig.modbus.tag_config import TagConfig

    values = {"at": at, **{key: value for key, value in said.items() if value is not None}}
    try:
        return TagConfig.model_validate(values).to_tag(at, base)
    except ValidationError as error:
        raise typer.BadParameter("; ".join(fault["msg"] for fault in error.errors())) from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
