"""Connections: which there are, who began them, when they end. Each gets a conversation to feed.

Those of UDP have no beginning and no end but silence: they are what goes between two ends.

Nothing here knows a protocol: what a connection's bytes mean is for the `Conversation` that `converse` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol, TypeAlias

from gears.network_sniffer.network import ACK, FIN, RST, SYN, Datagram, Segment, reverse
from gears.network_sniffer.stream import Budget, Sink, Stream


class Conversation(Protocol):
    """A protocol on one connection."""

    @property
    def sinks(self) -> tuple[Sink, Sink]:
        """One for each side of the connection, in the order of its `ends`."""

    def close(self, reason: str) -> None:
        """Give up what is pending. More data may still follow."""


class Connection:
    """Two ends, two streams."""

    __slots__ = ("closed", "conversation", "datagrams", "initiator", "key", "last", "last_ts", "streams")

    def __init__(self, key: bytes, ts: int, *, datagrams: bool) -> None:
        self.key = key
        """The key of the direction that was seen first: its sender is end 0."""
        self.last_ts = ts
        self.initiator: int | None = None
        """Which end sent the SYN, when that was seen."""
        self.closed = False
        self.datagrams = datagrams
        """Whether it is UDP: what goes between two ends."""
        self.last: tuple[bytes, bytes, int] = b"", b"", 0
        """The last datagram: key, payload, time."""
        self.conversation: Conversation
        self.streams: tuple[Stream, Stream]

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """IP address and port of each end."""
        half = (len(self.key) - 4) // 2
        addresses = str(ip_address(self.key[:half])), str(ip_address(self.key[half:-4]))
        ports = int.from_bytes(self.key[-4:-2]), int.from_bytes(self.key[-2:])
        return (addresses[0], ports[0]), (addresses[1], ports[1])


@dataclass(frozen=True, slots=True)
class Limits:
    """What reassembly may cost."""

    connections: int = 65_536
    idle_ns: int = 300_000_000_000
    stream_bytes: int = 262_144
    total_bytes: int = 33_554_432


Entry: TypeAlias = tuple[Connection, Stream, Stream]
"""A connection, the stream of one direction, and that of its peer."""

MIRROR_NS: Final = 1_000_000
"""The same datagram again within this time is a mirror's copy."""

SWEEP_NS: Final = 1_000_000_000
"""How often, in capture time, idle connections are looked for."""


class Reassembler:
    """Sorts segments into connections and streams."""

    def __init__(
        self,
        limits: Limits,
        converse: Callable[[Connection], Conversation],
        accept: Callable[[bytes], bool] | None = None,
        *,
        datagrams: bool = False,
    ) -> None:
        """`datagrams`: for UDP, else for TCP."""
        self.budget = Budget(limits.stream_bytes, limits.total_bytes)
        self.evicted = 0
        self._limits = limits
        self._converse = converse
        self._accept = accept
        self._datagrams = datagrams
        self._streams: dict[bytes, Entry | None] = {}
        """By the key of a direction; None: not wanted."""
        self._connections: dict[bytes, Connection] = {}
        self._next_sweep = 0

    def __len__(self) -> int:
        return len(self._connections)

    def segment(self, segment: Segment, frame: int, ts: int) -> None:
        """Take one segment, with its frame's number and time."""
        key, seq, ack, flags, payload, missing = segment
        try:
            entry = self._streams[key]
        except KeyError:
            entry = self._meet(key, ts)
        if entry is None:
            return
        connection, stream, peer = entry
        connection.last_ts = ts
        if flags & (SYN | RST):
            if flags & RST:
                self._close(connection, "reset")
            else:
                self._begin(entry, key, seq, ack if flags & ACK else None, ts)
            return
        if flags & ACK:
            peer.acknowledge(ack)
        if payload or missing:
            stream.segment(seq, payload, missing, frame, ts)
        if flags & FIN:
            stream.finish(seq + len(payload) + missing)
            if peer.finished is not None:
                self._close(connection, "closed")

    def datagram(self, datagram: Datagram, frame: int, ts: int) -> None:
        """Take a UDP datagram."""
        key, payload, missing = datagram
        entry = self._streams[key] if key in self._streams else self._meet(key, ts)
        if entry is None:
            return
        connection, stream, _ = entry
        connection.last_ts = ts
        known_key, known_payload, known_ts = connection.last
        connection.last = key, payload, ts
        if known_key == key and known_payload == payload and ts - known_ts <= MIRROR_NS:
            self.budget.retransmitted += 1
            return
        stream.datagram(payload, missing, frame, ts)

    def sweep(self, now_ns: int) -> None:
        """Forget connections that were idle too long. Cheap to call often."""
        if 0 < self._next_sweep - now_ns <= SWEEP_NS:
            return
        self._next_sweep = now_ns + SWEEP_NS
        horizon = now_ns - self._limits.idle_ns
        for connection in [c for c in self._connections.values() if c.last_ts < horizon]:
            self._forget(connection, "idle")

    def finish(self) -> None:
        """End of the capture: everything is given up in the order in which connections were met."""
        for connection in list(self._connections.values()):
            self._forget(connection, "capture_end")

    def _meet(self, key: bytes, ts: int) -> Entry | None:
        if self._accept is None or self._accept(key):
            return self._open(key, ts)
        if len(self._streams) > 4 * self._limits.connections:
            self._streams = {known: entry for known, entry in self._streams.items() if entry}
        return self._streams.setdefault(key, None)

    def _open(self, key: bytes, ts: int) -> Entry:
        if len(self._connections) >= self._limits.connections:
            self._evict()
        connection = Connection(key, ts, datagrams=self._datagrams)
        connection.conversation = self._converse(connection)
        ours, theirs = (Stream(sink, self.budget) for sink in connection.conversation.sinks)
        connection.streams = ours, theirs
        self._connections[key] = connection
        self._streams[reverse(key)] = connection, theirs, ours
        self._streams[key] = entry = connection, ours, theirs
        return entry

    def _begin(self, entry: Entry, key: bytes, seq: int, ack: int | None, ts: int) -> None:
        """Take a SYN, or a SYN with an ACK: the same one again changes nothing, a new one begins anew."""
        connection, stream, peer = entry
        if stream.isn == seq:
            return
        answers = ack is not None and stream.isn is None and not stream.position
        if stream.started and not answers:
            self._forget(connection, "reopened")
            connection, stream, peer = self._open(key, ts)
        connection.initiator = (0 if connection.key == key else 1) ^ (ack is not None)
        stream.isn = seq
        stream.start(seq + 1)
        if ack is not None:
            peer.acknowledge(ack)

    def _close(self, connection: Connection, reason: str) -> None:
        if not connection.closed:
            connection.closed = True
            for stream in connection.streams:
                stream.flush()
            connection.conversation.close(reason)

    def _forget(self, connection: Connection, reason: str) -> None:
        self._close(connection, reason)
        for stream in connection.streams:
            stream.flush()
        connection.conversation.close(reason)
        del self._connections[connection.key]
        del self._streams[connection.key]
        self._streams.pop(reverse(connection.key), None)

    def _evict(self) -> None:
        """Make room: the sixteenth that was silent longest goes."""
        silent = sorted(self._connections.values(), key=lambda connection: connection.last_ts)
        for connection in silent[: max(1, len(silent) // 16)]:
            self.evicted += 1
            self._forget(connection, "evicted")
