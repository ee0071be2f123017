"""Which protocols there are, and which one a connection speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from gears.network_sniffer.modbus.conversation import ModbusConversation
from gears.network_sniffer.modbus.pairing import Outstanding
from gears.network_sniffer.modbus.rtu import RtuSide
from gears.network_sniffer.modbus.side import Side
from gears.network_sniffer.modbus.traits import RTU, TCP, UDP
from gears.network_sniffer.observer import Observer
from gears.network_sniffer.reassembly import Connection
from gears.network_sniffer.stream import Sink


class Candidate(Protocol):
    """A conversation in a protocol that a connection may turn out to speak."""

    @property
    def claimed(self) -> bool:
        """Whether the connection speaks this protocol for sure."""

    @property
    def sinks(self) -> tuple[Sink, Sink]: ...

    def close(self, reason: str) -> None: ...


Listen: TypeAlias = Callable[[Connection, Observer, Outstanding], Candidate]
"""Begins to listen to a connection for one protocol."""


def _modbus(connection: Connection, observer: Observer, outstanding: Outstanding) -> Candidate:
    traits = UDP if connection.datagrams else TCP
    return ModbusConversation(connection, observer, outstanding, traits, Side)


def _modbus_rtu(connection: Connection, observer: Observer, outstanding: Outstanding) -> Candidate:
    return ModbusConversation(connection, observer, outstanding, RTU, RtuSide)


PROTOCOLS: Final[tuple[Listen, ...]] = (_modbus_rtu, _modbus)
"""In the order in which they may claim a segment: what proves itself best, by a checksum, comes first."""


class Recognition:
    """Lets every protocol listen to a connection until one claims it; from then on that one has it alone."""

    def __init__(self, connection: Connection, candidates: list[Candidate]) -> None:
        self.sinks = _Ear(0, self), _Ear(1, self)
        self._connection = connection
        self._candidates = candidates

    def offer(self, side: int, give: Callable[[Sink], None]) -> None:
        """Give bytes, a gap or a boundary to each protocol in turn, up to the one that claims them."""
        for candidate in self._candidates:
            give(candidate.sinks[side])
            if candidate.claimed:
                self._settle(candidate)
                return

    def close(self, reason: str) -> None:
        for candidate in self._candidates:
            candidate.close(reason)

    def _settle(self, candidate: Candidate) -> None:
        self._candidates = [candidate]
        self._connection.conversation = candidate
        for stream, sink in zip(self._connection.streams, candidate.sinks, strict=True):
            stream.sink = sink


@dataclass(frozen=True, slots=True)
class _Ear:
    """One side of a connection that nobody has claimed yet."""

    side: int
    recognition: Recognition

    def data(self, payload: bytes, frame: int, ts: int) -> None:
        self.recognition.offer(self.side, lambda sink: sink.data(payload, frame, ts))

    def gap(self, lost: int, *, cut: bool) -> None:
        self.recognition.offer(self.side, lambda sink: sink.gap(lost, cut=cut))

    def late(self, payload: bytes, frame: int, ts: int, position: int) -> None:
        self.recognition.offer(self.side, lambda sink: sink.late(payload, frame, ts, position))

    def boundary(self) -> None:
        self.recognition.offer(self.side, lambda sink: sink.boundary())


def recognise(connection: Connection, observer: Observer, outstanding: Outstanding) -> Recognition:
    """Listen to a connection for all protocols."""
    return Recognition(connection, [listen(connection, observer, outstanding) for listen in PROTOCOLS])
