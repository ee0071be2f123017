"""Real traffic against what tshark decoded of it. Needs the shared folder of captures."""

import gzip
import json
from collections import Counter

import pytest

from gears.network_sniffer.capture_file import read_capture
from gears.network_sniffer.events import Recorder
from gears.network_sniffer.packet import CaptureDamaged
from gears.network_sniffer.sniffer import Settings, Sniffer

pytestmark = pytest.mark.capture

EXPECTED = {
    "modbus/plant1.pcap": 15_976,
    "modbus/modbus_test.pcap": 2_258,
    "modbus/modbus_test_2.pcap": 3_975,
    # One more than tshark: frame 113, whose predecessor left three bytes of rubbish behind.
    "modbus/modbus_test_data_part1.pcap": 46,
    "modbus/modbus_test_data_part2.pcap": 281,
    "modbus/modicon_test.pcap": 180,
    "modbus/modbus_example.pcap": 48,
    "modbus/modbusBig.pcap": 5_549,
    "modbus/modbusSmall.pcap": 32,
    "modbus/modbus-and-non-modbus-p502.pcap": 12,
    # Eight more than tshark: whole ADUs behind or in a gap, or behind a violation, which it glues to what
    # came before.
    "modbus/fuzz-72.pcap": 25,
    # One more than tshark: frame 4, out of order but acknowledged.
    "modbus/fuzz-1011.pcap": 5,
    "modbus/modbus-eit.pcap": 4,
    "modbus/4SICS-GeekLounge-151022-min.pcap": 2,
    **{
        f"derived/icsnpp__{name}": 48
        for name in (
            "bigendian.pcap",
            "nsec.pcap",
            "pcapng.pcapng",
            "gz.pcap.gz",
            "sll.pcap",
            "vlan100.pcap",
            "qinq.pcap",
            "ipv6.pcap",
            "port1502.pcap",
            "dup.pcap",
            "split5.pcap",
            "split1.pcap",
            "split5_reversed.pcap",
        )
    },
    "derived/icsnpp__cutshort.pcap": 36,
    "derived/icsnpp__loss37.pcap": 47,
    "derived/icsnpp__snap64.pcap": 0,
    **{
        f"derived/plant1__{name}.pcap.gz": 15_976
        for name in ("vlan100", "port1502", "dup", "split5", "split5_reversed")
    },
    "derived/plant1__loss37.pcap.gz": 15_570,
}

EXTRA = {
    "modbusBig.pcap": {3150: "its acknowledgement was captured first: tshark takes it for sent again"},
    "modbus_test_data_part1.pcap": {113: "a fresh start after the rubbish at the end of frame 111"},
    "fuzz-72.pcap": {
        7: "tshark glues it to two bytes left over from frame 6",
        19: "acknowledges what was never sent; the bytes are in place all the same",
        21: "behind a gap",
        23: "sent before what was captured before it: it fills a part of a gap",
        25: "fills a part of a gap; the answer to frame 24",
        26: "behind a gap",
        27: "behind a gap",
        32: "fills a part of a gap",
    },
    "fuzz-1011.pcap": {4: "tshark takes it for a retransmission; it fills a part of a hole"},
}
"""ADUs that tshark does not find: by frame, with the reason."""

DIFFERENT = {
    ("modbus_test_data_part2.pcap", 22): "a write of one register that carries two: malformed",
    ("modbus_test_data_part2.pcap", 62): "a mask write without its second mask: malformed for tshark, too",
    ("modbus_test_data_part2.pcap", 64): "a read/write that ends in its header: malformed for tshark, too",
    ("4SICS-GeekLounge-151022-min.pcap", 1): "says 8,466 registers, carries 191 bytes: malformed",
}
"""Requests whose values tshark shows and we do not: by capture and frame, with the reason."""


@pytest.fixture(scope="module")
def run(wire):
    """Give the messages of a capture in the shared folder; each is sniffed once."""
    if not wire.CAPTURES.is_dir():
        pytest.skip(f"the captures are not there: {wire.CAPTURES}")
    known = {}

    def sniffed(name):
        if name not in known:
            sniffer = Sniffer(Recorder("rack/tap", "acme/tap", bytes(32)), Settings())
            try:
                sniffer.feed(read_capture(wire.CAPTURES / name))
            except CaptureDamaged as damage:
                sniffer.damaged(str(damage))
            sniffer.finish()
            known[name] = sniffer.take()
        return known[name]

    return sniffed


@pytest.fixture(scope="module")
def truth(wire):
    def read(name):
        with gzip.open(wire.CAPTURES / "truth" / f"{name}.jsonl.gz", "rt") as lines:
            return [json.loads(line) for line in lines]

    return read


def parts(found):
    """Give (part, exchange) for each ADU of transactions that was captured whole."""
    for data in found:
        if data["status"] != "truncated":
            yield from ((part, data) for part in ("request", "response") if part in data)


@pytest.mark.parametrize("name", EXPECTED)
def test_count(run, wire, name):
    """Of every capture, as many ADUs are found as a decoder can find."""
    assert sum(1 for _ in parts(wire.transactions(run(name)))) == EXPECTED[name]


def mine(part, data):
    """Describe one of our ADUs by the names of the truth."""
    fields = {
        "frame": data[part]["frame"],
        "tid": data["tid"],
        "unit": data["target"]["unit"],
        "fc": data["op"]["fc"],
        "dir": part,
        "len": data[part]["length"],
    }
    if part == "response":
        fields["exception_code"] = data.get("exception", {}).get("code")
    return fields


def details(part, data):
    """Describe what one of our ADUs says, by the names of the truth."""
    fields, target = {}, data["target"]
    if part == "request" and "address" in target and data["op"]["fc"] != 23:
        fields["address"] = target["address"]
        if data["op"]["fc"] in (1, 2, 15):
            fields["bit_cnt"] = target["quantity"]
        elif data["op"]["fc"] in (3, 4, 16):
            fields["word_cnt"] = target["quantity"]
    if part == "request" and data["op"]["fc"] == 22 and "write" in data:
        fields |= data["write"]
    if part == "request" and data["op"]["fc"] == 23 and "write" in data:
        write = data["write"]
        fields |= {"read_address": target["address"], "read_word_cnt": target["quantity"]}
        fields |= {"write_address": write["address"], "write_word_cnt": write["quantity"]}
    kind = "write" if part == "request" else "read"
    values = data.get(kind, {}).get("values", [])
    if (data["op"]["fc"] != 5 and "exception" not in data) or (part == "request" and data["op"]["fc"] != 5):
        if values and isinstance(values[0], bool):
            fields["bits"] = [int(value) for value in values]
        elif values:
            fields["regs"] = values
    if part == "response":
        fields |= identity(data)
    return fields


def identity(data):
    objects = data.get("identification", {}).get("objects")
    return {"object_values": list(objects.values())} if objects else {}


@pytest.mark.parametrize("name", [name.partition("/")[2] for name in EXPECTED if name.startswith("modbus/")])
def test_fields(run, truth, wire, name):
    """Every ADU that tshark decodes we decode, field by field alike; each difference is named here."""
    ours = {}
    for part, data in parts(wire.transactions(run(f"modbus/{name}"))):
        ours.setdefault((data[part]["frame"], part), []).append((part, data))
    theirs = {}
    for row in truth(name):
        theirs.setdefault((row["frame"], row["dir"]), []).append(row)
    assert {frame for frame, _ in ours.keys() - theirs.keys()} == set(EXTRA.get(name, {}))
    assert not theirs.keys() - ours.keys()
    for place, rows in theirs.items():
        assert len(ours[place]) == len(rows)
        for row in rows:
            compare(name, row, ours[place])


def compare(name, row, candidates):
    """Hold one row of the truth against the ADU of ours with the same ids in the same frame."""
    wanted = {key: row.get(key) for key in mine(*candidates[0])}
    matching = [one for one in candidates if mine(*one) == wanted]
    assert matching, (wanted, [mine(*one) for one in candidates])
    shown = {key: row[key] for key in ("regs", "bits", "object_values") if key in row}
    if row["fc"] == 6 and row["dir"] == "response":
        shown.pop("regs", None)  # the echo of what was written
    if (name, row["frame"]) in DIFFERENT:
        assert not any("values" in data.get("write", {}) for _, data in matching)
        return
    problems = []
    for part, data in matching:
        said = details(part, data)
        values = {key: value for key, value in said.items() if key in shown or key in row}
        if shown.keys() <= said.keys() and all(row.get(key) == value for key, value in values.items()):
            return
        problems.append((shown, said))
    raise AssertionError(f"frame {row['frame']}: {problems}")


@pytest.mark.parametrize("name", ["plant1.pcap", "modbus_example.pcap", "modbusBig.pcap", "modbusSmall.pcap"])
def test_pairing(run, truth, wire, name):
    """Where tshark pairs, we pair alike."""
    pairs = {
        (data["response"]["frame"], data["tid"]): data["request"]["frame"]
        for data in wire.transactions(run(f"modbus/{name}"))
        if "request" in data and "response" in data
    }
    rows = [row for row in truth(name) if "request_frame" in row]
    wrong = Counter(pairs.get((row["frame"], row["tid"])) == row["request_frame"] for row in rows)
    assert wrong[False] == 0
    assert wrong[True] == len(rows)


def test_same_values_whatever_the_wrapping(run, wire):
    """A capture in another format, on another link layer or port, mirrored twice: the same exchanges."""

    def told(name):
        return [
            (data["tid"], data["target"], data["status"], data.get("read"), data.get("write"))
            for data in wire.transactions(run(name))
        ]

    expected = told("modbus/modbus_example.pcap")
    for name, count in EXPECTED.items():
        if count == 48 and name.startswith("derived/"):
            assert told(name) == expected
