"""The words of foreign tag lists in our own: columns, IEC 61131-3 types, tables, decimal commas. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fluxrig.modbus.address import Table

TABLE: Final = "table"
"""The column that names the table where `at` is a bare number."""
ALIASES: Final[Mapping[str, str]] = {
    "tag": "name",
    "tag name": "name",
    "address": "at",
    "register": "at",
    "modbus address": "at",
    "register address": "at",
    "register type": TABLE,
    "data type": "type",
    "datatype": "type",
    "byte order": "order",
    "word order": "order",
    "factor": "scale",
    "units": "unit",
}
COMMENTS: Final = frozenset({"comment", "description", "remark", "note", "notes"})

_TYPES: Final[Mapping[str, str]] = {
    "int": "int16",
    "uint": "uint16",
    "word": "uint16",
    "dint": "int32",
    "udint": "uint32",
    "dword": "uint32",
    "lint": "int64",
    "ulint": "uint64",
    "lword": "uint64",
    "real": "float32",
    "float": "float32",
    "lreal": "float64",
    "double": "float64",
}
_TABLES: Final[Mapping[str, Table]] = {
    "coil": "coil",
    "discrete": "discrete",
    "discrete input": "discrete",
    "input status": "discrete",
    "input": "input",
    "input register": "input",
    "holding": "holding",
    "holding register": "holding",
}
_NUMBERS: Final = frozenset({"scale", "offset", "min", "max"})
_DECIMAL_COMMA: Final = re.compile(r"[-+]?[0-9]+,[0-9]+")


def column(text: str) -> str:
    """Give our name of a column, or theirs in lower case."""
    word = " ".join(re.split(r"[\s_-]+", text.strip().lower()))
    return ALIASES.get(word, word.replace(" ", "_"))


def cell(key: str, text: str, separator: str) -> str:
    """Give a cell in our words; as it is where they are ours already, or nobody's."""
    if key == "type":
        return _TYPES.get(text.lower(), text.lower())
    if key == "order":
        return text.upper()
    if key == TABLE:
        return _TABLES.get(text.lower().removesuffix("s"), text.lower())
    if key in _NUMBERS and separator != "," and _DECIMAL_COMMA.fullmatch(text):
        return text.replace(",", ".")
    return text


def place(table: str, number: str) -> str:
    """Give the address that a table and a number name; hex numbers begin with 0x."""
    digits = str(int(number, 16)) if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", number) else number
    return f"{table}/{digits}"
