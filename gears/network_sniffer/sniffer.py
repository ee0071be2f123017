"""The way of a packet through the layers: network, reassembly, protocol, events. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from fluxrig.message import FluxMsg
from gears.network_sniffer.baseline import Baseline
from gears.network_sniffer.events import CAPTURE, Recorder
from gears.network_sniffer.fragments import Fragments
from gears.network_sniffer.modbus.pairing import Outstanding
from gears.network_sniffer.network import TCP, UDP, Datagram, Found, Fragment, Skip, dissect, macs, whole
from gears.network_sniffer.observer import Observer, Scope
from gears.network_sniffer.packet import Packet
from gears.network_sniffer.protocols import Recognition, recognise
from gears.network_sniffer.reassembly import Connection, Limits, Reassembler

TICK_NS: Final = 100_000_000
"""How finely, in capture time, time-outs are looked for."""

BACK_NS: Final = 1_000_000_000
"""A packet so much older than the last one sets the clock back: one wrong time must not stop it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much may be kept and for how long."""

    request_timeout_ns: int = 10_000_000_000
    pending: int = 65_536
    report_ns: int = 60_000_000_000
    limits: Limits = field(default_factory=Limits)
    scope: Scope = field(default_factory=Scope)


Accept: TypeAlias = Callable[[bytes, int], bool]
"""Whether a direction, by its key and transport protocol, is wanted."""


class Sniffer:
    """Takes packets, gives messages. Time is capture time, so the same packets give the same messages."""

    def __init__(self, recorder: Recorder, settings: Settings, accept: Accept | None = None) -> None:
        self.bytes = 0
        self.kernel_drops = 0
        self.skipped = dict.fromkeys(Skip, 0)
        self._recorder = recorder
        self._report_ns = settings.report_ns
        self._observer = Observer(recorder, settings.scope)
        self._outstanding = Outstanding(settings.pending, settings.request_timeout_ns)
        self._fragments = Fragments()
        self._streams, self._datagrams = (
            Reassembler(
                settings.limits,
                self._converse,
                None if accept is None else partial(_accepted, accept, protocol),
                datagrams=protocol == UDP,
            )
            for protocol in (TCP, UDP)
        )
        self._packet: Packet | None = None
        self._tick_from = 0
        self._next_tick = 0
        self._next_report = 0
        self._last_ts = 0

    def feed(self, packets: Iterable[Packet]) -> None:
        """Take packets in the order in which they were captured."""
        recorder, find, segment = self._recorder, dissect, self._streams.segment
        ts, size, number = self._last_ts, 0, recorder.frame
        for packet in packets:
            ts, link, data, length = packet
            number += 1
            recorder.frame = number
            size += len(data)
            if not self._tick_from <= ts < self._next_tick:
                self.bytes, size = self.bytes + size, 0
                self.tick(ts)
            self._packet = packet
            found = find(link, data, length)
            if type(found) is tuple:
                segment(found, number, ts)  # type: ignore[arg-type] # the only plain tuple
            else:
                self._take(found, ts)
        self.bytes += size
        self._last_ts = ts

    def _take(self, found: Found, ts: int) -> None:
        """Take what is no plain TCP segment."""
        if isinstance(found, Skip):
            self.skipped[found] += 1
        elif isinstance(found, Datagram):
            self._datagrams.datagram(found, self._recorder.frame, ts)
        elif isinstance(found, Fragment):
            packet = self._fragments.add(found, ts)
            if packet is not None:
                self._take(whole(*packet), ts)
        else:
            self._streams.segment(found, self._recorder.frame, ts)

    @property
    def baseline(self) -> Baseline:
        return self._observer.baseline

    @property
    def packets(self) -> int:
        return self._recorder.frame

    def tick(self, now_ns: int) -> None:
        """Let time pass without a packet, to `now_ns`: requests time out, idle connections go."""
        self._tick_from, self._next_tick = now_ns - BACK_NS, now_ns + TICK_NS
        self._last_ts = max(self._last_ts, now_ns)
        self._outstanding.sweep(now_ns)
        self._streams.sweep(now_ns)
        self._datagrams.sweep(now_ns)
        self._fragments.sweep(now_ns)
        self._observer.tick(now_ns)
        if not 0 < self._next_report - now_ns <= self._report_ns:
            if self._next_report:
                self._report(now_ns)
            self._next_report = now_ns + self._report_ns

    def damaged(self, detail: str) -> None:
        """Note that the capture ends in the middle of something."""
        self._recorder.anomaly(self._last_ts, "capture_damaged", "medium", detail)

    def finish(self) -> None:
        """End of the capture: report what still waits, and the counters."""
        self._fragments.finish()
        self._streams.finish()
        self._datagrams.finish()
        self._observer.finish(self._last_ts)
        self._recorder.event(CAPTURE, self._last_ts, self.counters())

    @property
    def waiting(self) -> int:
        """How many messages `take` would give."""
        return len(self._recorder.messages)

    def take(self) -> list[FluxMsg]:
        """Give the messages since the last call."""
        return self._recorder.take()

    def counters(self) -> dict[str, int]:
        """Give the data of `ot.capture/1`, counted from the start of the capture."""
        streams, datagrams = self._streams, self._datagrams
        budget = streams.budget
        return {
            "packets": self.packets,
            "bytes": self.bytes,
            "kernel_drops": self.kernel_drops,
            "not_ip_tcp_udp": self.skipped[Skip.OTHER],
            "link_unknown": self.skipped[Skip.LINK],
            "fragments": self._fragments.seen,
            "fragmented_joined": self._fragments.joined,
            "fragmented_lost": self._fragments.lost,
            "decode_errors": self.skipped[Skip.CUT],
            "connections": len(streams) + len(datagrams),
            "evicted": streams.evicted + datagrams.evicted + self._observer.forgotten,
            "retransmitted": budget.retransmitted + datagrams.budget.retransmitted,
            "out_of_order": budget.out_of_order,
            "gaps": budget.gaps,
            "strays": budget.strays,
            "lost_bytes": budget.lost_bytes,
            "truncated_bytes": budget.truncated_bytes + datagrams.budget.truncated_bytes,
            "adus": self._observer.adus,
            "pending": self._outstanding.live,
            "messages": self._recorder.made,
            "anomalies": self._recorder.anomalies,
        }

    def _converse(self, connection: Connection) -> Recognition:
        packet = self._packet
        if packet is not None and (addresses := macs(packet.link, packet.data)) is not None:
            for (ip, _), mac in zip(connection.ends, addresses, strict=True):
                self._observer.meet(ip, mac.hex(":"))
        return recognise(connection, self._observer, self._outstanding)

    def _report(self, ts: int) -> None:
        self._observer.report(ts)
        self._recorder.event(CAPTURE, ts, self.counters())


def _accepted(accept: Accept, protocol: int, key: bytes) -> bool:
    return accept(key, protocol)
