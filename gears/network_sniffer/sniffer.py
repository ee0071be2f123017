"""The way of a packet through the layers: network, reassembly, protocol, events. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from fluxrig.message import FluxMsg
from gears.network_sniffer.events import CAPTURE, Recorder
from gears.network_sniffer.modbus.conversation import ModbusConversation
from gears.network_sniffer.modbus.pairing import Outstanding
from gears.network_sniffer.network import Skip, tcp_segment
from gears.network_sniffer.packet import Packet
from gears.network_sniffer.reassembly import Connection, Limits, Reassembler

TICK_NS: Final = 100_000_000
"""How finely, in capture time, time-outs are looked for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much may be kept and for how long."""

    request_timeout_ns: int = 10_000_000_000
    pending: int = 65_536
    report_ns: int = 60_000_000_000
    limits: Limits = field(default_factory=Limits)


class Sniffer:
    """Takes packets, gives messages. Time is capture time, so the same packets give the same messages."""

    def __init__(
        self,
        recorder: Recorder,
        settings: Settings,
        accept: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.packets = 0
        self.bytes = 0
        self.adus = 0
        self.kernel_drops = 0
        self.skipped = dict.fromkeys(Skip, 0)
        self._recorder = recorder
        self._report_ns = settings.report_ns
        self._outstanding = Outstanding(settings.pending, settings.request_timeout_ns)
        self._reassembler = Reassembler(settings.limits, self._converse, accept)
        self._segment = self._reassembler.segment
        self._next_tick = 0
        self._next_report = 0
        self._last_ts = 0

    def feed(self, packets: Iterable[Packet]) -> None:
        """Take packets in the order in which they were captured."""
        recorder, segment_of, segment = self._recorder, tcp_segment, self._segment
        for ts, link, data, length in packets:
            recorder.frame += 1
            self.packets += 1
            self.bytes += len(data)
            if ts >= self._next_tick:
                self.tick(ts)
            found = segment_of(link, data, length)
            if type(found) is tuple:
                segment(found, recorder.frame, ts)
            else:
                self.skipped[found] += 1  # type: ignore[index]
            self._last_ts = ts

    def tick(self, now_ns: int) -> None:
        """Let time pass without a packet, to `now_ns`: requests time out, idle connections go."""
        self._next_tick = now_ns + TICK_NS
        self._outstanding.sweep(now_ns)
        self._reassembler.sweep(now_ns)
        if now_ns >= self._next_report:
            if self._next_report:
                self._report(now_ns)
            self._next_report = now_ns + self._report_ns

    def damaged(self, detail: str) -> None:
        """Note that the capture ends in the middle of something."""
        self._recorder.anomaly(self._last_ts, "capture_damaged", "medium", detail)

    def finish(self) -> None:
        """End of the capture: report what still waits, and the counters."""
        self._reassembler.finish()
        self._report(self._last_ts)

    @property
    def waiting(self) -> int:
        """How many messages `take` would give."""
        return len(self._recorder.messages)

    def take(self) -> list[FluxMsg]:
        """Give the messages since the last call."""
        return self._recorder.take()

    def counters(self) -> dict[str, int]:
        """Give the data of `ot.capture/1`, counted from the start of the capture."""
        budget = self._reassembler.budget
        return {
            "packets": self.packets,
            "bytes": self.bytes,
            "kernel_drops": self.kernel_drops,
            "not_tcp": self.skipped[Skip.OTHER],
            "link_unknown": self.skipped[Skip.LINK],
            "fragments": self.skipped[Skip.FRAGMENT],
            "decode_errors": self.skipped[Skip.CUT],
            "connections": len(self._reassembler),
            "evicted": self._reassembler.evicted,
            "retransmitted": budget.retransmitted,
            "out_of_order": budget.out_of_order,
            "gaps": budget.gaps,
            "strays": budget.strays,
            "lost_bytes": budget.lost_bytes,
            "pending": self._outstanding.live,
            "messages": self._recorder.made,
            "anomalies": self._recorder.anomalies,
        }

    def _converse(self, connection: Connection) -> ModbusConversation:
        return ModbusConversation(connection, self._recorder, self._outstanding)

    def _report(self, ts: int) -> None:
        self._recorder.event(CAPTURE, ts, self.counters())
