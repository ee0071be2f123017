"""Sizes as people write them: `512MiB`, `8GiB`, `20GB`.

`Bytes` is the type of a size in any configuration: text in the file, bytes as an integer in the program.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_BYTES: Final = 1 << 50
_UNITS: Final = {
    "B": 1,
    "kB": 10**3,
    "KiB": 1 << 10,
    "MB": 10**6,
    "MiB": 1 << 20,
    "GB": 10**9,
    "GiB": 1 << 30,
    "TB": 10**12,
    "TiB": 1 << 40,
}
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)")


def parse_size(text: str) -> int:
    """Give the bytes of a text such as `512MiB`. Raises ValueError that says what to write."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:32]!r} is not a size; write a number and its unit, such as 512MiB or 8GiB")
    size = int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]
    if not 0 < size <= MAX_BYTES:
        raise ValueError(f"{text!r} is out of range; a size is more than 0 and at most 1024TiB")
    return size


def format_size(size: int) -> str:
    """Give a size for a person to read, in binary units: 1536 is `1.5KiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _UNITS[unit]:
            return f"{round(size / _UNITS[unit], 1):g}{unit}"
    return f"{size}B"


def _from_file(value: object) -> int:
    if isinstance(value, str):
        try:
            return parse_size(value)
        except ValueError as error:
            raise PydanticCustomError("size", "{reason}", {"reason": str(error)}) from None
    raise PydanticCustomError("size", "{reason}", {"reason": "a size needs its unit, such as 512MiB or 8GiB"})


Bytes: TypeAlias = Annotated[
    int,
    BeforeValidator(_from_file),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]+)? ?(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$",
            "x-type": "size",
        }
    ),
]
"""Bytes, more than 0. In a file: text with a unit; a default in a model: a number of bytes."""
