"""The project's own recording against scapy's decoder, which shares no code; also when edited to hurt."""

from pathlib import Path

import pytest
from scapy.contrib.modbus import ModbusADURequest, ModbusADUResponse
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from gears.network_sniffer.capture_file import read_capture
from gears.network_sniffer.packet import LinkType, Packet

RECORDING = Path(__file__).parents[3] / "fluxrig" / "cli" / "demo" / "scada.pcap"
PORT = 5020
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
"""Given always: without them scapy asks the network for them."""


@pytest.fixture(scope="module")
def packets():
    return list(read_capture(RECORDING))


def frames_of(packets):
    """Give (packet, frame as scapy has it, payload) of each packet that carries something."""
    for number, packet in enumerate(packets, 1):
        ether = Ether(packet.data)
        tcp = ether[TCP]
        size = ether[IP].len - ether[IP].ihl * 4 - tcp.dataofs * 4
        yield number, packet, ether, bytes(tcp.payload)[:size]


def bits(data, quantity):
    return [bool(data[n // 8] >> n % 8 & 1) for n in range(quantity)]


def theirs(packets):
    """Give what scapy decodes: requests and responses, by frame."""
    asked = {}
    for number, _, ether, payload in frames_of(packets):
        if not payload:
            continue
        if ether[TCP].dport == PORT:
            adu = ModbusADURequest(payload)
            pdu = adu.payload
            place = pdu.getfieldval("startAddr" if pdu.funcCode < 5 else "registerAddr")
            quantity = pdu.quantity if pdu.funcCode < 5 else 1
            asked[adu.transId] = pdu.funcCode, place, quantity
            said = {"address": place, "quantity": quantity}
            if pdu.funcCode == 6:
                said["written"] = [pdu.registerValue]
            yield number, "request", adu.transId, adu.unitId, pdu.funcCode, said
        else:
            adu = ModbusADUResponse(payload)
            pdu = adu.payload
            fc, _, quantity = asked[adu.transId]
            if pdu.funcCode & 0x80:
                said = {"exception": pdu.exceptCode}
            elif fc < 3:
                raw = bytes(pdu)[2:]
                said = {"read": bits(raw, quantity)}
            else:
                said = {"read": list(pdu.registerVal)} if fc < 5 else {}
            yield number, "response", adu.transId, adu.unitId, fc, said


def ours(found):
    for data in found:
        said = {"address": data["target"]["address"], "quantity": data["target"]["quantity"]}
        if "write" in data:
            said["written"] = data["write"]["values"]
        same = data["tid"], data["target"]["unit"], data["op"]["fc"]
        yield data["request"]["frame"], "request", *same, said
        said = {"read": data["read"]["values"]} if "read" in data else {}
        if "exception" in data:
            said = {"exception": data["exception"]["code"]}
        yield data["response"]["frame"], "response", *same, said


def test_fields(wire, packets):
    """Every ADU that scapy decodes we decode, field by field alike, and no other."""
    mine = sorted(ours(wire.transactions(wire.sniff(packets))), key=lambda one: one[0])
    assert mine == list(theirs(packets))
    assert len(mine) == 2 * 818


def again(packets, frames):
    return [
        Packet(packet.ts, LinkType.ETHERNET, bytes(frame), len(frame))
        for packet, frame in zip(packets, frames, strict=True)
    ]


def tagged(packets):
    for _, _, ether, _ in frames_of(packets):
        yield Ether(src=ether.src, dst=ether.dst) / Dot1AD(vlan=7) / Dot1Q(vlan=100) / ether.payload


def over_ipv6(packets):
    for _, _, ether, payload in frames_of(packets):
        tcp = ether[TCP].copy()
        tcp.remove_payload()
        del tcp.chksum
        ends = {"src": f"fd00::{ether[IP].src[-1]}", "dst": f"fd00::{ether[IP].dst[-1]}"}
        yield Ether(**MACS) / IPv6(**ends) / tcp / Raw(payload)


def split(packets, size, step):
    """Give the packets with payloads cut to `size`; the pieces in order or, by `step` -1, backwards."""
    for _, packet, ether, payload in frames_of(packets):
        pieces = [(at, payload[at : at + size]) for at in range(0, len(payload), size)] or [(0, b"")]
        for at, piece in pieces[::step]:
            tcp = ether[TCP].copy()
            tcp.remove_payload()
            tcp.seq += at
            del tcp.chksum
            frame = bytes(Ether(**MACS) / IP(src=ether[IP].src, dst=ether[IP].dst) / tcp / Raw(piece))
            yield Packet(packet.ts, LinkType.ETHERNET, frame, len(frame))


@pytest.mark.parametrize("variant", ["tagged", "ipv6", "twice", "split5", "split1", "split5_reversed"])
def test_variants(wire, packets, variant):
    """The same traffic, edited to hurt a decoder, gives the same exchanges with the same values."""
    some = packets[:300]
    wanted = [data.get("read") for data in wire.transactions(wire.sniff(some))]
    edited = {
        "tagged": lambda: again(some, tagged(some)),
        "ipv6": lambda: again(some, over_ipv6(some)),
        "twice": lambda: [packet for packet in some for _ in range(2)],
        "split5": lambda: list(split(some, 5, 1)),
        "split1": lambda: list(split(some, 1, 1)),
        "split5_reversed": lambda: list(split(some, 5, -1)),
    }[variant]()
    found = wire.transactions(wire.sniff(edited))
    assert [data.get("read") for data in found] == wanted
    assert all(data["status"] in ("ok", "exception", "lost") for data in found)
