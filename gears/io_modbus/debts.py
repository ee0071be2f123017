"""Which answers may still come to requests that were given up, on lines without transaction ids. Pure.

An RTU or ASCII answer says unit, function and length, but not which request it is for: one that is late
could pass for the answer to the next request of the same shape. But a device answers in the order in which it
was asked (Modbus over Serial Line V1.02, §2.1). So once it has answered something that no owed answer can be
taken for, nothing older comes any more.
"""

from __future__ import annotations

import struct
from typing import Final

from fluxrig.modbus.pdu import READ_DISCRETE, READ_INPUT, Request

DIAGNOSTICS: Final = 8
_ERROR: Final = 0x80
_READ: Final = struct.Struct(">BHH")


class Debts:
    """What the units of one line owe. Times are of a clock that never steps."""

    def __init__(self) -> None:
        self._owed: dict[int, list[tuple[bytes, float]]] = {}
        """How each answer that may come begins, and until when it may; by unit, in the order of requests."""
        self._silent_on_echo: set[int] = set()
        self._nonce = 0

    def owe(self, unit: int, request: Request, until_s: float) -> None:
        """Note that a request got no right answer; until then one may come."""
        self._owed.setdefault(unit, []).append((request.echo, until_s))

    def owes(self, unit: int, now_s: float) -> bool:
        """Say whether any answer of a unit may still come."""
        return bool(self._live(unit, now_s))

    def doubtful(self, unit: int, request: Request, now_s: float) -> bool:
        """Say whether an owed answer could be taken for the one to this request."""
        return any(echo == request.echo for echo, _ in self._live(unit, now_s))

    def owed_by_others(self, unit: int, now_s: float) -> bool:
        """Say whether what comes while a unit is asked may be another unit's."""
        return any(other != unit and self.owes(other, now_s) for other in tuple(self._owed))

    def proves(self, unit: int, request: Request, answer: bytes, now_s: float) -> bool:
        """Say whether an answer can only be the one to this request; if so, nothing is owed any more.

        If not, it is at least not older than the first that it could be: what was asked before is settled.
        """
        owed = self._live(unit, now_s)
        first = next((n for n, (echo, _) in enumerate(owed) if _could_be(echo, request, answer)), len(owed))
        self._owed[unit] = owed[first:]
        return first == len(owed)

    def settling(self, unit: int, request: Request, now_s: float) -> Request:
        """Give a harmless request whose answer can't be one that is owed, to be asked before this one.

        It is an echo (function 8), or, for a device that is silent on that, fewer values than this one reads.
        """
        owed = {echo for echo, _ in self._live(unit, now_s)}
        shorter = _shorter(request, owed) if unit in self._silent_on_echo else None
        return shorter or self._echo()

    def not_settled(self, unit: int) -> None:
        """Try the other way next time."""
        self._silent_on_echo ^= {unit}

    def _live(self, unit: int, now_s: float) -> list[tuple[bytes, float]]:
        """Give what a unit owes still, and forget the rest."""
        owed = [debt for debt in self._owed.get(unit, ()) if now_s < debt[1]]
        if owed:
            self._owed[unit] = owed
        else:
            self._owed.pop(unit, None)
        return owed

    def _echo(self) -> Request:
        """Ask for two bytes to be sent back, other ones each time (V1.1b3, §6.8, sub-function 0)."""
        self._nonce = self._nonce % 0xFFFF + 1
        pdu = struct.pack(">BHH", DIAGNOSTICS, 0, self._nonce)
        return Request(pdu, pdu, len(pdu))


def _could_be(echo: bytes, request: Request, answer: bytes) -> bool:
    """Say whether an answer to a request could as well be one that is owed."""
    return echo[0] == request.function if answer[0] & _ERROR else echo == request.echo


def _shorter(request: Request, owed: set[bytes]) -> Request | None:
    """Give a read of the same place with fewer values, of a size that no owed answer has."""
    if request.function > READ_INPUT:
        return None
    function, start, _ = _READ.unpack(request.pdu)
    of_bits = function <= READ_DISCRETE
    step = 1 if of_bits else 2
    for size in range(request.echo[1] - step, 0, -step):
        if (echo := bytes([function, size])) not in owed:
            count = size * 8 if of_bits else size // 2
            return Request(_READ.pack(function, start, count), echo, 2 + size)
    return None
