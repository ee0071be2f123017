"""Modbus on one TCP connection: who asks, who answers, and what becomes an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gears.network_sniffer.events import Repeats
from gears.network_sniffer.exchange import MODERN_NS, Usual
from gears.network_sniffer.flow import Flow, Traits
from gears.network_sniffer.modbus.frame import Adu
from gears.network_sniffer.modbus.listener import Listener
from gears.network_sniffer.modbus.pairing import Outstanding, Pairing, Request, pairing_key
from gears.network_sniffer.modbus.pdu import EXCEPTION, is_public, is_request, is_response
from gears.network_sniffer.modbus.transaction import Unanswered, exchange, orphan, repeated, unanswered
from gears.network_sniffer.observer import Observer
from gears.network_sniffer.reassembly import Connection
from gears.network_sniffer.stream import Sink

PORT: Final = 502
_EVIDENCE_BYTES: Final = 32

_DETAILS: Final = {
    "bad_protocol_id": "the MBAP protocol id is not 0; the rest of the segment is skipped",
    "length_too_short": "the MBAP length is below 2; the rest of the segment is skipped",
    "length_too_long": "the MBAP length is above 254",
    "unrecognised": "this is no Modbus that can be recognised; the rest of the segment is skipped",
    "not_modbus": "port 502 carries something that is no Modbus",
    "bad_crc": "an RTU frame's checksum is wrong; the rest of the segment is skipped",
    "gap": "bytes on the wire were not captured",
    "truncated": "the capture's snap length cut bytes off",
    "response_mismatch": "the response does not fit its request",
}


class ModbusConversation:
    """Takes a connection's bytes, on any port; makes nothing of them until their shape shows Modbus."""

    def __init__(
        self,
        connection: Connection,
        observer: Observer,
        outstanding: Outstanding,
        traits: Traits,
        frame: Callable[[int, Listener], Sink],
    ) -> None:
        """`frame` makes what cuts the bytes of one side into ADUs."""
        self.sinks = frame(0, self), frame(1, self)
        self._connection = connection
        self._observer = observer
        self._pairing = Pairing(outstanding)
        self._traits = traits
        self._ends = connection.ends
        self._client: int | None = None
        self._flow: Flow
        self._hints: list[Adu | None] = [None, None]
        self._repeats = Repeats()

    @property
    def claimed(self) -> bool:
        """Whether this is Modbus for sure."""
        return self._client is not None

    @property
    def _on_port(self) -> bool:
        return PORT in (self._ends[0][1], self._ends[1][1])

    def client_side(self) -> int | None:
        return self._client

    def recognises(self, side: int, adu: Adu, *, alone: bool) -> bool:
        if self._client is not None:
            expected = is_request if side == self._client else is_response
            known = expected(adu.pdu)
        else:
            known = is_request(adu.pdu) or is_response(adu.pdu)
        trusted = self._client is not None or self._on_port
        if not (known or (trusted and (alone or (not adu.whole and is_public(adu.pdu))))):
            return alone and self._echoes(side, adu)
        if self._client is None:
            self._claim(side, adu)
        return True

    def _echoes(self, side: int, adu: Adu) -> bool:
        """Whether the other side just sent the same transaction, unit and function: one of them asked.

        So even functions that are the vendor's own are known on any port.
        """
        asked = self._hints[1 - side]
        if asked is None or pairing_key(asked) != pairing_key(adu) or asked.pdu[0] & EXCEPTION:
            self._hints[side] = adu if adu.whole else None
            return False
        self._hints = [None, None]
        self._claim(1 - side, asked, asks=True)
        self.adu(1 - side, asked)
        return True

    def adu(self, side: int, adu: Adu) -> None:
        if side == self._client:
            server = self._connection.streams[1 - side]
            self._pairing.ask(Request(adu, self, server.acked))
        else:
            self._answer(side, adu)

    def late(self, side: int, adu: Adu, position: int) -> None:
        if side == self._client:
            # Its answer, if there is one, was captured before: a later one is another request's.
            self._tell_unanswered(Request(adu, self, 0), "lost", "gap")
        else:
            self._answer(side, adu, position)

    def violation(self, side: int, code: str, data: bytes, ts: int) -> None:
        if self._client is not None:
            self._report(code, "medium", ts, side=side, data=data[:_EVIDENCE_BYTES], length=len(data))
        elif self._on_port:
            self._report("not_modbus", "low", ts, side=side, data=data[:_EVIDENCE_BYTES], length=len(data))

    def gap(self, side: int, lost: int, *, cut: bool) -> None:
        for request in self._pairing.waiting():
            if side == self._client:
                request.ask_gap = True
            else:
                request.answer_gap = True
            if request.ask_gap and request.answer_gap:
                self.give_up(request, "lost", "gap")
        if self._client is not None or self._on_port:
            code = "truncated" if cut else "gap"
            self._report(code, "low", self._connection.last_ts, side=side, lost_bytes=lost)

    def close(self, reason: str) -> None:
        """Report what still waits: nothing will answer it on this connection."""
        ended = reason in ("capture_end", "evicted")
        for request in self._pairing.waiting():
            if request.answer_gap:
                self.give_up(request, "lost", "gap")
            else:
                self.give_up(request, "lost" if ended else "timeout", reason)

    def give_up(self, request: Request, status: Unanswered, reason: str) -> None:
        self._pairing.remove(request)
        self._tell_unanswered(request, status, reason)

    def _tell_unanswered(self, request: Request, status: Unanswered, reason: str) -> None:
        data = unanswered(self._flow.data, request.adu, status, reason)
        self._observer.transaction(self._flow, request.adu.ts, data)

    @property
    def _unseen(self) -> bool:
        """Whether the server has requests that were not captured, or not yet."""
        return self._client is not None and self._connection.streams[self._client].unseen > 1

    def _answer(self, side: int, response: Adu, late: int | None = None) -> None:
        """Take a response; `late` is its end in the stream, where that went on without it."""
        position = self._connection.streams[side].position if late is None else late
        request = self._pairing.answer(response, position)
        if request is not None and request.answer_gap and self._unseen:
            # Its own response may be lost, and this be one to a lost request with the same ids.
            self._tell_unanswered(request, "lost", "gap")
            request = None
        if request is not None and late is not None:
            request.answer_gap = True
        if request is not None and (gist := self._usual(request, side, response)) is not None:
            adu, seen = request.adu, (response.ts, response.frame)
            self._observer.exchange(self._flow, gist, adu.tid, (adu.ts, adu.frame), seen)
            return
        if request is None:
            data = orphan(self._flow.data, response)
        else:
            data = exchange(self._flow.data, request.adu, response)
            asked = self._connection.streams[1 - side]
            if request.rivals:
                data["pairing"] = "fifo"
            elif request.answer_gap or request.ask_gap or asked.acked - asked.position > 1:
                data["pairing"] = "gap"
            if data["status"] == "malformed":
                self._report("response_mismatch", "medium", response.ts, tid=response.tid)
        self._observer.transaction(self._flow, response.ts, data)

    def _usual(self, request: Request, side: int, response: Adu) -> Usual | None:
        """Give the gist of an exchange of which nothing is doubtful, odd or missing."""
        asked, stream = request.adu, self._connection.streams[1 - side]
        if request.rivals or request.answer_gap or request.ask_gap or stream.acked - stream.position > 1:
            return None
        if asked.tid < 0 or not (asked.whole and response.whole and MODERN_NS <= asked.ts <= response.ts):
            return None
        return repeated(asked.unit, asked.pdu, response.pdu)

    def _claim(self, side: int, adu: Adu, *, asks: bool = False) -> None:
        self._client = client = side if asks else self._guess_client(side, adu)
        self._flow = self._observer.flow(self._ends[client], self._ends[1 - client], self._traits, adu.ts)

    def _guess_client(self, side: int, adu: Adu) -> int:
        """Tell which side asks: by the port, by who began, by the shape of the ADU, by the higher port."""
        ports = self._ends[0][1], self._ends[1][1]
        if (ports[0] == PORT) != (ports[1] == PORT):
            return ports.index(PORT) ^ 1
        if self._connection.initiator is not None:
            return self._connection.initiator
        asks, answers = is_request(adu.pdu), is_response(adu.pdu)
        if asks != answers:
            return side if asks else 1 - side
        return int(ports[1] > ports[0])

    def _report(self, code: str, severity: str, ts: int, *, side: int | None = None, **evidence: Any) -> None:
        count = self._repeats.count(code)
        if count is None:
            return
        if self._client is not None:
            evidence["flow"] = self._flow.data
        else:
            evidence["ends"] = [{"ip": ip, "port": port} for ip, port in self._ends]
        if side is not None:
            evidence["from"] = {"ip": self._ends[side][0], "port": self._ends[side][1]}
        self._observer.recorder.anomaly(ts, code, severity, _DETAILS[code], count=count, **evidence)
