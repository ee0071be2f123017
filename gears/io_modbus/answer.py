"""Whether an answer is the one that was asked for. Pure.

A device that answers late, or a gateway that mixes up its clients, would otherwise put one register's value
into another tag. So every field that can be known beforehand is held against the question (Modbus Messaging
on TCP/IP Implementation Guide V1.0b, §3.1.3), and one that differs is a reason to give up the connection.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct(">HHHBB")
"""Transaction id, protocol id, length, unit and function."""

_REQUEST: Final = struct.Struct(">HHHBBHH")
_BIT_FUNCTIONS: Final = frozenset({1, 2})


@dataclass(frozen=True, slots=True)
class Question:
    """A read request as it went out."""

    transaction: int
    unit: int
    function: int
    count: int

    @classmethod
    def of(cls, request: bytes) -> Question:
        """Read back a request of function 1 to 4."""
        transaction, _, _, unit, function, _, count = _REQUEST.unpack(request)
        return cls(transaction, unit, function, count)

    @property
    def payload(self) -> int:
        """How many bytes of values the answer has."""
        return (self.count + 7) // 8 if self.function in _BIT_FUNCTIONS else self.count * 2


def fault_in(answer: bytes, question: Question) -> str | None:
    """Say what is wrong with an answer, or None. One that is not whole yet is judged by what is there."""
    if len(answer) < HEADER.size:
        return None
    transaction, protocol, length, unit, function = HEADER.unpack_from(answer)
    is_exception = function == question.function | 0x80
    expected = {
        "transaction id": (transaction, question.transaction),
        "protocol id": (protocol, 0),
        "unit": (unit, question.unit),
        "function": (function & 0x7F, question.function),
        "length": (length, 3 if is_exception else 3 + question.payload),
    }
    if not is_exception and len(answer) > HEADER.size:
        expected["byte count"] = (answer[HEADER.size], question.payload)
    for name, (got, wanted) in expected.items():
        if got != wanted:
            return f"the answer has {name} {got} instead of {wanted}"
    excess = len(answer) - 6 - length
    return f"{excess} bytes came behind the answer" if excess > 0 else None
