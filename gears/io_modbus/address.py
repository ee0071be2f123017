"""Where a value stands: one of the four tables and a protocol address. Pure.

Addresses are those of the protocol, 0 to 65535 (Modbus Application Protocol V1.1b3, §4.4): what a manual
calls 40001 is `holding/0`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

Table: TypeAlias = Literal["coil", "discrete", "input", "holding"]

TABLES: Final[tuple[Table, ...]] = get_args(Table)
BIT_TABLES: Final = frozenset({"coil", "discrete"})
MAX_ADDRESS: Final = 65535
MAX_READ: Final[dict[Table, int]] = {"coil": 2000, "discrete": 2000, "input": 125, "holding": 125}
"""The most bits or registers that one request may read (§6.1 to §6.4)."""

_SHAPE: Final = re.compile(r"([a-z]+)/([0-9]{1,9})")
_REFERENCE: Final = re.compile(r"([0134])([0-9]{4,5})")
_REFERENCE_TABLES: Final[dict[str, Table]] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a table."""

    table: Table
    number: int

    def __str__(self) -> str:
        return f"{self.table}/{self.number}"


def parse_address(text: object) -> Address:
    """Read `holding/0`. Raises ValueError that says what to write."""
    match = _SHAPE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{str(text)[:32]!r} is not an address; write {_instead_of(text)}")
    table = next((table for table in TABLES if table == match[1]), None)
    if table is None:
        near = difflib.get_close_matches(match[1], TABLES, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"the tables are {', '.join(TABLES)}"
        raise ValueError(f"there is no table {match[1][:32]!r}; {hint}")
    if int(match[2]) > MAX_ADDRESS:
        raise ValueError(
            f"address {match[2]} is beyond {MAX_ADDRESS}; count from 0, without the table's digit"
        )
    return Address(table, int(match[2]))


def _instead_of(text: object) -> str:
    """Give what to write, reading reference numbers such as 40001 as manuals mean them."""
    reference = _REFERENCE.fullmatch(str(text).zfill(5))
    if reference and int(reference[2]) > 0:
        return f"{_REFERENCE_TABLES[reference[1]]}/{int(reference[2]) - 1} for what a manual calls {text}"
    return "a table and a number from 0, such as holding/0 or coil/3"


def _from_file(value: object) -> Address:
    if isinstance(value, Address):
        return value
    try:
        return parse_address(value)
    except ValueError as error:
        raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None


AddressField: TypeAlias = Annotated[
    Address,
    BeforeValidator(_from_file),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({'|'.join(TABLES)})/[0-9]+$",
            "examples": ["holding/0", "coil/3"],
        }
    ),
]
"""An address in a configuration."""
