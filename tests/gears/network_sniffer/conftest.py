"""Traffic that the tests make themselves: frames, captures of any format, and what is sniffed of them."""

import io
import random
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gears.network_sniffer.capture_file import read_packets
from gears.network_sniffer.events import ALL, Recorder
from gears.network_sniffer.packet import LinkType, Packet
from gears.network_sniffer.sniffer import Settings, Sniffer

CAPTURES = Path(__file__).parents[4] / "shared" / "captures"
START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000
SYN, ACK, PUSH, FIN, RST = 2, 16, 8, 1, 4

CLIENT, SERVER = ("10.0.0.1", 40_000), ("10.0.0.2", 502)


def ip_bytes(address):
    return bytes(map(int, address.split(".")))


def tcp(ends, seq, ack, payload=b"", flags=ACK | PUSH):
    ports = struct.pack(">HH", ends[0][1], ends[1][1])
    header = ports + struct.pack(">IIBBHHH", seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 8192, 0, 0)
    return header + payload


def ipv4(source, target, body):
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 6, 0)
    return header + ip_bytes(source[0]) + ip_bytes(target[0]) + body


def ethernet(body, ethertype=0x0800):
    return bytes(12) + struct.pack(">H", ethertype) + body


def adu(tid, pdu, unit=1):
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


def values_at(address, quantity):
    """What the plant of these tests holds at an address: a value that tells where it was read."""
    return [(address * 7 + 13 * n) & 0xFFFF for n in range(quantity)]


def read_request(tid, address, quantity, unit=1):
    return adu(tid, struct.pack(">BHH", 3, address, quantity), unit)


def read_response(tid, address, quantity, unit=1):
    values = values_at(address, quantity)
    return adu(tid, struct.pack(f">BB{quantity}H", 3, 2 * quantity, *values), unit)


@dataclass
class Tape:
    """A capture in the making: one TCP connection, and the frames that went over it."""

    client: tuple = CLIENT
    server: tuple = SERVER
    seqs: list = field(default_factory=lambda: [1000, 5_000_000])
    packets: list = field(default_factory=list)

    def frame(self, side, payload=b"", flags=ACK | PUSH, seq=None):
        """Add a frame of the client (0) or the server (1), in order unless `seq` says otherwise."""
        ends = (self.client, self.server) if side == 0 else (self.server, self.client)
        seq = self.seqs[side] if seq is None else seq
        data = ethernet(ipv4(*ends, tcp(ends, seq, self.seqs[1 - side], payload, flags)))
        ts = START_NS + len(self.packets) * STEP_NS
        self.packets.append(Packet(ts, LinkType.ETHERNET, data, len(data)))

    def send(self, side, payload, flags=ACK | PUSH):
        self.frame(side, payload, flags)
        self.seqs[side] += len(payload)

    def lose(self, side, payload):
        """Let bytes go over the wire that the capture misses."""
        self.seqs[side] += len(payload)

    def connect(self):
        self.frame(0, flags=SYN)
        self.seqs[0] += 1
        self.frame(1, flags=SYN | ACK)
        self.seqs[1] += 1
        self.frame(0, flags=ACK)

    def exchange(self, tid, address=0, quantity=2):
        self.send(0, read_request(tid, address, quantity))
        self.send(1, read_response(tid, address, quantity))


def sniff(packets, accept=None, schemas=ALL, **settings):
    """Give the messages of a whole capture."""
    sniffer = Sniffer(Recorder("rack/tap", "acme/tap", bytes(32), schemas), Settings(**settings), accept)
    sniffer.feed(packets)
    sniffer.finish()
    return sniffer.take()


def transactions(messages):
    return [message.data for message in messages if message.schema == "ot.transaction/1"]


def anomalies(messages):
    return [message.data for message in messages if message.schema == "ot.anomaly/1"]


def counters(messages):
    return [message.data for message in messages if message.schema == "ot.capture/1"][-1]


def pcap_bytes(packets, order="<", unit_ns=1000, link=LinkType.ETHERNET):
    magic = 0xA1B2C3D4 if unit_ns == 1000 else 0xA1B23C4D
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262_144, link)]
    for ts, _, data, length in packets:
        seconds, rest = divmod(ts, 1_000_000_000)
        parts += [struct.pack(f"{order}IIII", seconds, rest // unit_ns, len(data), length), data]
    return b"".join(parts)


def block(kind, body, order="<"):
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def pcapng_bytes(packets, order="<", link=LinkType.ETHERNET):
    """Give a pcapng in nanoseconds: one section, one interface, enhanced packet blocks."""
    section = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    options = struct.pack(f"{order}HHB3xHH", 9, 1, 9, 0, 0)
    parts = [section, block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)]
    for ts, _, data, length in packets:
        head = struct.pack(f"{order}IIIII", 0, ts >> 32, ts & 0xFFFFFFFF, len(data), length)
        parts.append(block(6, head + data, order))
    return b"".join(parts)


def read(data):
    return list(read_packets(io.BytesIO(data), "test"))


def plant_tape(exchanges=40, seed=1, tids=65_536, silent=0.0):
    """Give a connection on which registers are read, each address with its own values.

    Transaction ids repeat after `tids`; a request is left unanswered with the probability `silent`.
    """
    draw = random.Random(seed)
    tape = Tape()
    tape.connect()
    for n in range(exchanges):
        tid, address, quantity = n % tids, draw.randrange(5000), draw.randrange(1, 4)
        tape.send(0, read_request(tid, address, quantity))
        if draw.random() >= silent:
            tape.send(1, read_response(tid, address, quantity))
    return tape


class Wire:
    """The functions above, as one fixture."""

    CAPTURES, START_NS, STEP_NS = CAPTURES, START_NS, STEP_NS
    SYN, ACK, PUSH, FIN, RST = SYN, ACK, PUSH, FIN, RST
    CLIENT, SERVER = CLIENT, SERVER
    Tape = Tape
    tcp, ipv4, ethernet, adu = map(staticmethod, (tcp, ipv4, ethernet, adu))
    values_at, read_request, read_response = map(staticmethod, (values_at, read_request, read_response))
    sniff, transactions, anomalies = map(staticmethod, (sniff, transactions, anomalies))
    counters, plant_tape = map(staticmethod, (counters, plant_tape))
    pcap_bytes, pcapng_bytes, block, read = map(staticmethod, (pcap_bytes, pcapng_bytes, block, read))
    replace = staticmethod(replace)


@pytest.fixture(scope="session")
def wire():
    return Wire
