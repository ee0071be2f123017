"""`fluxrig decode`: show what CBOR bytes say."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from fluxrig import cbor
from fluxrig.cli.console import JsonOption
from fluxrig.codec import iterate_strict
from fluxrig.errors import DecodeError, FluxrigError

MAX_INPUT: Final = 64 << 20
"""Bytes read at most: an hour of a busy gear; decoded, it takes some of these 64 MiB several times over."""


def decode(
    source: Annotated[
        str, typer.Argument(help="Hex digits, a file, or - for standard input.", metavar="HEX|FILE|-")
    ] = "-",
    as_json: JsonOption = False,
    any_item: Annotated[bool, typer.Option("--any", help="Take any CBOR items, not only messages.")] = False,
    from_hex: Annotated[
        bool, typer.Option("--hex", help="The file or standard input holds hex digits.")
    ] = False,
) -> None:
    """Print the messages of a CBOR sequence, one a line, in diagnostic notation (RFC 8949 §8) or as JSON.

    Decoding is strict: what is not deterministic (RFC 8949 §4.2.1) or not a fluxMsg is refused, with the
    offset, after the messages before it are printed. In JSON, ids are UUIDs, other bytes are hex digits; NaN,
    the infinities, integers beyond 64 bits and tags are text.
    """
    name, data = _read(source, from_hex)
    render = _json if as_json else cbor.diagnose
    try:
        for value in _items(data) if any_item else _messages(data, as_json):
            typer.echo(render(value))
    except DecodeError as error:
        raise FluxrigError(f"{name}: {error}") from None


def _messages(data: bytes, with_uuids: bool) -> Iterator[Any]:
    for message, _ in iterate_strict(data):
        yield _with_uuids(message.fields) if with_uuids else message.fields


def _items(data: bytes) -> Iterator[Any]:
    offset = 0
    while offset < len(data):
        value, offset = cbor.decode_next(data, offset)
        yield value


def _read(source: str, from_hex: bool) -> tuple[str, bytes]:
    """Give the bytes that `source` names, and what to call them in an error."""
    if source == "-" and sys.stdin.isatty():
        raise typer.BadParameter("nothing is piped in; give hex digits or a file")
    if source == "-":
        name, data = "standard input", sys.stdin.buffer.read(MAX_INPUT + 1)
    elif Path(source).is_file():
        with Path(source).open("rb") as file:
            name, data = source, file.read(MAX_INPUT + 1)
    else:
        return "hex", _from_hex(source, f"{source[:40]!r} is neither a file nor hex digits")
    if len(data) > MAX_INPUT:
        raise FluxrigError(f"{name}: more than {MAX_INPUT >> 20} MiB; decode it in parts")
    return name, _from_hex(data.decode("latin-1"), f"{name}: not hex digits") if from_hex else data


def _from_hex(text: str, complaint: str) -> bytes:
    try:
        return bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        raise FluxrigError(complaint) from None


def _with_uuids(fields: Mapping[str, Any]) -> dict[str, Any]:
    ids = {name: str(UUID(bytes=fields[name])) for name in ("id", "ref") if name in fields}
    return {name: ids.get(name, value) for name, value in fields.items()}


def _json(value: Any) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """Give what JSON can say of a CBOR value."""
    if isinstance(value, Mapping):
        return {_name(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, bytes):
        return value.hex()
    return value if _is_json(value) else cbor.diagnose(value)


def _name(key: Any) -> str:
    return key if isinstance(key, str) else cbor.diagnose(key)


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str) or (isinstance(value, int) and value.bit_length() <= 64)
