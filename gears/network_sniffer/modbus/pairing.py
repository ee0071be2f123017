"""Which request a response answers, and what becomes of requests that get none."""

from __future__ import annotations

from itertools import takewhile
from typing import Protocol

from gears.network_sniffer.modbus.frame import Adu
from gears.network_sniffer.modbus.pdu import EXCEPTION, decode_response
from gears.network_sniffer.modbus.transaction import Unanswered


class Asker(Protocol):
    """The conversation that a request belongs to."""

    def give_up(self, request: Request, status: Unanswered, reason: str) -> None:
        """Report a request that gets no response any more."""


class Request:
    """A request that waits for its response."""

    __slots__ = ("adu", "answer_gap", "ask_gap", "asker", "heard", "key", "rivals")

    def __init__(self, adu: Adu, asker: Asker, heard: int) -> None:
        self.adu = adu
        self.asker = asker
        self.heard = heard
        """How far the client had the server's bytes when it asked, as a position of their stream."""
        self.key = pairing_key(adu)
        self.rivals = False
        """Whether another request with the same ids waited at the same time."""
        self.answer_gap = False
        """Whether bytes of the server were lost since: the response may be among them."""
        self.ask_gap = False
        """Whether bytes of the client were lost since: a request with the same ids may be among them."""


def pairing_key(adu: Adu) -> int:
    """Transaction id, unit and function, the exception bit aside, as one number."""
    return adu.tid << 16 | adu.unit << 8 | adu.pdu[0] & ~EXCEPTION


class Outstanding:
    """All requests of all connections that wait, oldest first: bounded in number and in time."""

    def __init__(self, limit: int, timeout_ns: int) -> None:
        self._limit = limit
        self._timeout_ns = timeout_ns
        self._requests: dict[Request, None] = {}

    @property
    def live(self) -> int:
        return len(self._requests)

    def add(self, request: Request) -> None:
        self._requests[request] = None
        if len(self._requests) > self._limit:
            oldest = next(iter(self._requests))
            oldest.asker.give_up(oldest, "lost", "table_full")

    def settle(self, request: Request) -> None:
        del self._requests[request]

    def sweep(self, now_ns: int) -> None:
        """Give up what has waited too long at `now_ns`, in capture time."""
        horizon = now_ns - self._timeout_ns
        for request in list(takewhile(lambda request: request.adu.ts < horizon, self._requests)):
            if request.answer_gap:
                request.asker.give_up(request, "lost", "gap")
            else:
                request.asker.give_up(request, "timeout", "no_response")


class Pairing:
    """The requests of one connection that wait."""

    __slots__ = ("_outstanding", "_waiting")

    def __init__(self, outstanding: Outstanding) -> None:
        self._outstanding = outstanding
        self._waiting: dict[int, list[Request]] = {}

    def ask(self, request: Request) -> None:
        waiting = self._waiting.get(request.key)
        if waiting is None:
            self._waiting[request.key] = [request]
        else:
            waiting.append(request)
            for one in waiting:
                one.rivals = True
        self._outstanding.add(request)

    def answer(self, response: Adu, position: int) -> Request | None:
        """Take the request that a response answers; None when there is none.

        `position` is where the response ends in the server's stream: what a client had when it asked is no
        answer, in whatever order the two were captured. Of several requests with the same ids it is the first
        that the response fits; those whose response may be among lost bytes come last.
        """
        every = self._waiting.get(pairing_key(response))
        if every is None:
            return None
        if len(every) == 1 and every[0].heard < position:
            del self._waiting[every[0].key]
            self._outstanding.settle(every[0])
            return every[0]
        waiting = [one for one in every if one.heard < position]
        if not waiting:
            return None
        waiting.sort(key=lambda one: one.answer_gap)
        request = next((one for one in waiting if _fits(one.adu, response)), waiting[0])
        self.remove(request)
        return request

    def remove(self, request: Request) -> None:
        waiting = self._waiting[request.key]
        waiting.remove(request)
        if not waiting:
            del self._waiting[request.key]
        self._outstanding.settle(request)

    def waiting(self) -> list[Request]:
        """Give all that wait, in the order in which they were asked."""
        every = [request for waiting in self._waiting.values() for request in waiting]
        return sorted(every, key=lambda request: (request.adu.frame, request.adu.ts))


def _fits(request: Adu, response: Adu) -> bool:
    return bool(response.pdu[0] & EXCEPTION) or decode_response(response.unit, response.pdu, request.pdu)[1]
