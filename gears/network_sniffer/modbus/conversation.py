"""Modbus on one TCP connection: who asks, who answers, and what becomes an event."""

from __future__ import annotations

from typing import Any, Final

from gears.network_sniffer.events import TRANSACTION, Recorder, Repeats
from gears.network_sniffer.modbus.frame import Adu
from gears.network_sniffer.modbus.pairing import Outstanding, Pairing, Request
from gears.network_sniffer.modbus.pdu import is_public, is_request, is_response
from gears.network_sniffer.modbus.side import Side
from gears.network_sniffer.modbus.transaction import Unanswered, exchange, orphan, unanswered
from gears.network_sniffer.reassembly import Connection

PORT: Final = 502
_EVIDENCE_BYTES: Final = 32

_DETAILS: Final = {
    "bad_protocol_id": "the MBAP protocol id is not 0; the rest of the segment is skipped",
    "length_too_short": "the MBAP length is below 2; the rest of the segment is skipped",
    "length_too_long": "the MBAP length is above 254",
    "unrecognised": "this is no Modbus that can be recognised; the rest of the segment is skipped",
    "not_modbus": "port 502 carries something that is no Modbus",
    "gap": "bytes on the wire were not captured",
    "response_mismatch": "the response does not fit its request",
}


class ModbusConversation:
    """Takes a connection's bytes, on any port; makes nothing of them until their shape shows Modbus."""

    def __init__(self, connection: Connection, recorder: Recorder, outstanding: Outstanding) -> None:
        self.sinks = Side(0, self), Side(1, self)
        self.adus = 0
        self._connection = connection
        self._recorder = recorder
        self._pairing = Pairing(outstanding)
        self._ends = connection.ends
        self._client: int | None = None
        self._flow: dict[str, Any] = {}
        self._repeats = Repeats()

    @property
    def _on_port(self) -> bool:
        return PORT in (self._ends[0][1], self._ends[1][1])

    def recognises(self, side: int, adu: Adu, *, alone: bool) -> bool:
        if self._client is not None:
            expected = is_request if side == self._client else is_response
            known = expected(adu.pdu)
        else:
            known = is_request(adu.pdu) or is_response(adu.pdu)
        trusted = self._client is not None or self._on_port
        if not (known or (trusted and (alone or (not adu.whole and is_public(adu.pdu))))):
            return False
        if self._client is None:
            self._claim(side, adu)
        return True

    def adu(self, side: int, adu: Adu) -> None:
        self.adus += 1
        if side == self._client:
            server = self._connection.streams[1 - side]
            self._pairing.ask(Request(adu, self, server.acked))
        else:
            self._answer(adu, self._connection.streams[side].position)

    def violation(self, side: int, code: str, data: bytes, ts: int) -> None:
        if self._client is not None:
            self._report(code, "medium", ts, side=side, data=data[:_EVIDENCE_BYTES], length=len(data))
        elif self._on_port:
            self._report("not_modbus", "low", ts, side=side, data=data[:_EVIDENCE_BYTES], length=len(data))

    def gap(self, side: int, lost: int) -> None:
        for request in self._pairing.waiting():
            if side == self._client:
                request.ask_gap = True
            else:
                request.answer_gap = True
            if request.ask_gap and request.answer_gap:
                self.give_up(request, "lost", "gap")
        if self._client is not None or self._on_port:
            self._report("gap", "low", self._connection.last_ts, side=side, lost_bytes=lost)

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
        data = unanswered(self._flow, request.adu, status, reason)
        self._recorder.event(TRANSACTION, request.adu.ts, data)

    @property
    def _unseen(self) -> bool:
        """Whether the server has requests that were not captured, or not yet."""
        return self._client is not None and self._connection.streams[self._client].unseen > 1

    def _answer(self, response: Adu, position: int) -> None:
        request = self._pairing.answer(response, position)
        if request is not None and request.answer_gap and self._unseen:
            # Its own response may be lost, and this be one to a lost request with the same ids.
            self._tell_unanswered(request, "lost", "gap")
            request = None
        if request is None:
            data = orphan(self._flow, response)
        else:
            data = exchange(self._flow, request.adu, response)
            if request.rivals:
                data["pairing"] = "fifo"
            elif request.answer_gap or request.ask_gap or self._unseen:
                data["pairing"] = "gap"
            if data["status"] == "malformed":
                self._report("response_mismatch", "medium", response.ts, tid=response.tid)
        self._recorder.event(TRANSACTION, response.ts, data)

    def _claim(self, side: int, adu: Adu) -> None:
        self._client = client = self._guess_client(side, adu)
        ends = {"client": self._ends[client], "server": self._ends[1 - client]}
        self._flow = {role: {"ip": ip, "port": port} for role, (ip, port) in ends.items()}

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
        if self._flow:
            evidence["flow"] = self._flow
        else:
            evidence["ends"] = [{"ip": ip, "port": port} for ip, port in self._ends]
        if side is not None:
            evidence["from"] = {"ip": self._ends[side][0], "port": self._ends[side][1]}
        self._recorder.anomaly(ts, code, severity, _DETAILS[code], count=count, **evidence)
