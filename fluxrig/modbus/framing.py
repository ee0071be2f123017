"""How requests and answers are wrapped: MBAP on TCP and UDP, RTU and ASCII on serial lines. Pure.

A device that answers late, or a gateway that mixes up its clients, would otherwise put one register's value
into another tag. So every field that can be known beforehand is held against the question (Modbus Messaging
on TCP/IP Implementation Guide V1.0b, §3.1.3), and the first that differs is a `WrongAnswer`. What has no
transaction id (RTU, ASCII) is held to unit, function, length and checksum.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from fluxrig.modbus.pdu import Request, WrongAnswer, size_of_answer

FramingName: TypeAlias = Literal["mbap", "rtu", "ascii"]

_HEADER: Final = struct.Struct(">HHHB")


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it went out."""

    unit: int
    transaction: int
    request: Request


class BadChecksum(WrongAnswer):
    """A whole answer that was hurt on its way."""


class Framing(Protocol):
    """Wraps questions and unwraps answers."""

    def frame(self, question: Question) -> bytes:
        """Give the bytes to send."""

    def answer(self, received: bytes, question: Question) -> bytes | None:
        """Give the answer without its frame, None while it is not whole. Raises WrongAnswer."""


class Mbap:
    """Modbus TCP: transaction id, protocol 0, length and unit before the request (§3.1.3)."""

    def frame(self, question: Question) -> bytes:
        pdu = question.request.pdu
        return _HEADER.pack(question.transaction, 0, len(pdu) + 1, question.unit) + pdu

    def answer(self, received: bytes, question: Question) -> bytes | None:
        if len(received) <= _HEADER.size:
            return None
        transaction, protocol, length, unit = _HEADER.unpack_from(received)
        _must_be("transaction id", transaction, question.transaction)
        _must_be("protocol id", protocol, 0)
        _must_be("unit", unit, question.unit)
        body = received[_HEADER.size :]
        size = size_of_answer(body, question.request)
        _must_be("length", length, size + 1)
        return _whole(body, size)


class Rtu:
    """Unit, request, CRC with the low byte first (Modbus over Serial Line V1.02, §2.5.1)."""

    def frame(self, question: Question) -> bytes:
        body = bytes([question.unit]) + question.request.pdu
        return body + crc(body)

    def answer(self, received: bytes, question: Question) -> bytes | None:
        if not received:
            return None
        _must_be("unit", received[0], question.unit)
        size = 1 + size_of_answer(received[1:], question.request)
        whole = _whole(received, size + 2)
        if whole is None:
            return None
        if crc(whole[:size]) != whole[size:]:
            raise BadChecksum("the answer has a wrong CRC; check wiring, baud rate and parity")
        return whole[1:size]


class Ascii:
    """A colon, unit, request and LRC as hex digits, CR LF (Modbus over Serial Line V1.02, §2.5.2)."""

    def frame(self, question: Question) -> bytes:
        body = bytes([question.unit]) + question.request.pdu
        return b":" + (body + lrc(body)).hex().upper().encode() + b"\r\n"

    def answer(self, received: bytes, question: Question) -> bytes | None:
        if not received:
            return None
        body = self._bytes(received)
        if not body:
            return None
        _must_be("unit", body[0], question.unit)
        size = 1 + size_of_answer(body[1:], question.request)
        whole = _whole(received, (size + 1) * 2 + 3)
        if whole is None:
            return None
        if whole[-2:] != b"\r\n":
            raise WrongAnswer("the answer does not end with CR LF")
        if lrc(body[:size]) != body[size:]:
            raise BadChecksum("the answer has a wrong LRC; check wiring, baud rate and parity")
        return body[1:size]

    def _bytes(self, received: bytes) -> bytes:
        """Give the bytes of the hex digits that are there so far."""
        digits = received[1:].split(b"\r")[0]
        try:
            if received[:1] == b":" and digits.isalnum() | (not digits):
                return bytes.fromhex(digits[: len(digits) & ~1].decode("ascii"))
        except ValueError:
            pass
        raise WrongAnswer("the answer is not Modbus ASCII; is the device set to RTU?")


FRAMINGS: Final[dict[FramingName, Framing]] = {"mbap": Mbap(), "rtu": Rtu(), "ascii": Ascii()}


def _must_be(name: str, got: int, wanted: int) -> None:
    if got != wanted:
        raise WrongAnswer(f"the answer has {name} {got} instead of {wanted}")


def _whole(received: bytes, size: int) -> bytes | None:
    if len(received) > size:
        raise WrongAnswer(f"{len(received) - size} bytes came behind the answer")
    return received if len(received) == size else None


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xA001 * (value & 1)  # noqa: PLW2901 - the register shifts in place
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc(body: bytes) -> bytes:
    """Give the two bytes of CRC-16/MODBUS as they are sent (Modbus over Serial Line V1.02, §6.2.2)."""
    register = 0xFFFF
    for byte in body:
        register = register >> 8 ^ _CRC_TABLE[(register ^ byte) & 0xFF]
    return register.to_bytes(2, "little")


def lrc(body: bytes) -> bytes:
    """Give the byte of the longitudinal redundancy check (Modbus over Serial Line V1.02, §6.2.1)."""
    return bytes([-sum(body) & 0xFF])
