"""Promises that hold however a capture is hurt: no crash, no growth, nothing made up, the same bytes."""

import gzip
import hashlib
import io
import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxrig.codec import encode_sequence
from gears.network_sniffer.capture_file import read_capture, read_packets
from gears.network_sniffer.events import ASSET, VALUE, Recorder
from gears.network_sniffer.packet import CaptureDamaged, CaptureError
from gears.network_sniffer.reassembly import Limits
from gears.network_sniffer.sniffer import Settings, Sniffer

FEW = settings(max_examples=int(os.environ.get("FLUXRIG_FUZZ_EXAMPLES", "60")), deadline=None)
"""Seconds of fuzzing; `make fuzz` makes it minutes."""


def hurt(data, packets):
    """Drop, repeat, swap and cut packets as hypothesis likes."""
    packets = list(packets)
    for _ in range(data.draw(st.integers(1, 12), label="how often")):
        at = data.draw(st.integers(0, len(packets) - 2), label="at")
        what = data.draw(st.sampled_from(["drop", "repeat", "swap", "cut"]), label="what")
        if what == "drop" and len(packets) > 3:
            del packets[at]
        elif what == "repeat":
            packets.insert(at, packets[at])
        elif what == "swap":
            packets[at], packets[at + 1] = packets[at + 1], packets[at]
        else:
            packets[at] = packets[at]._replace(data=packets[at].data[:-3])
    return packets


@FEW
@given(st.data())
def test_never_a_wrong_pairing(wire, data):
    """Whatever is lost, doubled, swapped or cut, also while few transaction ids are reused: values have the
    address that they were read at. Where that is not certain, `pairing` says so."""
    tids = data.draw(st.sampled_from([1, 2, 5, 65_536]))
    silent = data.draw(st.sampled_from([0.0, 0.2]))
    tape = wire.plant_tape(30, seed=data.draw(st.integers(0, 99)), tids=tids, silent=silent)
    for found in wire.transactions(wire.sniff(hurt(data, tape.packets))):
        if found["status"] == "ok" and "pairing" not in found:
            target = found["target"]
            assert found["read"]["values"] == wire.values_at(target["address"], target["quantity"])
            assert found["request"]["ts"] <= found["response"]["ts"] + 12 * wire.STEP_NS


@FEW
@given(st.data())
def test_intact_segments_are_found(wire, data):
    """Of the ADUs in segments that are whole and come once and in order, none is missed."""
    packets = wire.plant_tape(30).packets
    dropped = data.draw(st.sets(st.integers(3, len(packets) - 1), max_size=20))
    kept = [packet for n, packet in enumerate(packets) if n not in dropped]
    found = wire.transactions(wire.sniff(kept))
    parts = sum(("request" in one) + ("response" in one) for one in found)
    assert parts == len(kept) - 3


@FEW
@given(st.data())
def test_reordered_segments_are_found(wire, data):
    """However packets are lost, doubled and captured out of turn, also behind their own acknowledgement:
    each segment that is there gives its ADU, once, and none is made up."""
    packets = wire.plant_tape(30, tids=data.draw(st.sampled_from([1, 5, 65_536]))).packets
    kept = packets[:3]
    for packet in packets[3:]:
        times = data.draw(st.sampled_from([0, 1, 1, 1, 2]))
        for _ in range(times):
            back = data.draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
            kept.insert(max(3, len(kept) - back), packet)
    found = wire.transactions(wire.sniff(kept))
    frames = [one[part]["frame"] for one in found for part in ("request", "response") if part in one]
    assert len(frames) == len({packet.data for packet in kept[3:]})
    for one in found:
        if one["status"] == "ok":
            target = one["target"]
            assert one["read"]["values"] == wire.values_at(target["address"], target["quantity"]) or (
                "pairing" in one
            )


@FEW
@given(st.data())
def test_corruption(wire, data):
    """Bytes changed anywhere, headers included, never make the sniffer raise, nor hold more than it may."""
    packets = list(wire.plant_tape(20).packets)
    for _ in range(data.draw(st.integers(1, 30))):
        at = data.draw(st.integers(0, len(packets) - 1))
        damaged = bytearray(packets[at].data)
        damaged[data.draw(st.integers(12, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        packets[at] = packets[at]._replace(data=bytes(damaged))
    messages = wire.sniff(packets, limits=Limits(stream_bytes=4096, total_bytes=8192, connections=16))
    encode_sequence(messages)
    assert wire.counters(messages)["pending"] == 0


@FEW
@given(st.data())
def test_corrupted_files(wire, data):
    """Bytes of a capture file changed, cut out or put in anywhere, in any format: what can be read is, and
    the rest is one error of ours."""
    packets = wire.plant_tape(10).packets
    write = data.draw(st.sampled_from([wire.pcap_bytes, wire.pcapng_bytes]))
    damaged = bytearray(write(packets, data.draw(st.sampled_from("<>"))))
    squeezed = data.draw(st.booleans())
    if squeezed:
        damaged = bytearray(gzip.compress(damaged, mtime=0))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    found, reading = [], read_packets(io.BytesIO(bytes(damaged)), "test")
    with suppress(CaptureError, CaptureDamaged):
        while packet := next(reading, None):
            found.append(packet)
    encode_sequence(wire.sniff(found))


@FEW
@given(st.lists(st.binary(max_size=300), max_size=30), st.sampled_from([502, 4001]), st.booleans())
def test_any_payload(wire, payloads, port, rtu):
    """Whatever goes over a connection, known for RTU or not known at all, nothing raises or is held."""
    tape = wire.Tape(server=("10.0.0.2", port))
    if rtu:
        tape.send(0, bytes.fromhex("010300000002c40b"))
    for n, payload in enumerate(payloads):
        tape.send(n % 2, payload)
    messages = wire.sniff(tape.packets)
    encode_sequence(messages)
    assert wire.counters(messages)["pending"] == 0
    assert not any(
        "read" in data and "request" not in data and data["status"] == "ok"
        for data in wire.transactions(messages)
    )


def test_connections_are_bounded(wire):
    """A flood of connections costs a bounded table: those that were silent longest go."""
    packets = []
    for n in range(300):
        tape = wire.Tape(client=(f"10.1.{n // 250}.{n % 250 + 1}", 1000 + n))
        tape.send(0, wire.read_request(n, n, 1))
        packets += [packet._replace(ts=packet.ts + n * wire.STEP_NS) for packet in tape.packets]
    sniffer = Sniffer(Recorder("r/g", "a", bytes(32)), Settings(limits=Limits(connections=32)))
    for packet in packets:
        sniffer.feed([packet])
        assert sniffer.counters()["connections"] <= 32
    assert sniffer.counters()["evicted"] >= 300 - 32
    sniffer.finish()
    assert len(wire.transactions(sniffer.take())) == 300


def test_idle_connections_go(wire):
    """A connection that is silent too long is forgotten, and what waited on it is reported."""
    tape = wire.Tape()
    tape.send(0, wire.read_request(1, 1, 1))
    tape.frame(1, flags=wire.ACK)
    sniffer = Sniffer(Recorder("r/g", "a", bytes(32)), Settings(request_timeout_ns=10**18))
    sniffer.feed(tape.packets)
    sniffer.tick(wire.START_NS + 400_000_000_000)
    assert sniffer.counters()["connections"] == 0
    assert [data["reason"] for data in wire.transactions(sniffer.take())] == ["idle"]


@FEW
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_same_bytes_whatever_the_batches(wire, sizes):
    """The messages are the same bytes, ids and all, however packets go in and messages come out."""
    packets = wire.plant_tape(40, tids=3).packets[:-1]
    whole = encode_sequence(wire.sniff(packets))
    sniffer = Sniffer(Recorder("rack/tap", "acme/tap", bytes(32)), Settings())
    at, parts = 0, []
    while at < len(packets):
        size = sizes[at % len(sizes)]
        sniffer.feed(packets[at : at + size])
        parts.append(encode_sequence(sniffer.take()))
        at += size
    sniffer.finish()
    parts.append(encode_sequence(sniffer.take()))
    assert b"".join(parts) == whole


@FEW
@given(st.binary(max_size=32), st.integers(0, 2**62), st.integers(1, 2**63), st.sets(st.integers(0, 4200)))
def test_ids_are_uuid8(identity, ts, frame, told):
    """An id is a UUID of version 8 that depends on the capture, the frame and the message of the frame."""

    def ids(identity, ts, frame):
        recorder = Recorder("a/b", "c", identity, frozenset({VALUE}))
        recorder.frame = frame
        for index in range(max(told, default=0) + 1):
            recorder.event(VALUE if index in told else ASSET, ts, {})
        return [message.id for message in recorder.take()]

    made = ids(identity, ts, frame)
    assert made == ids(identity, ts, frame)
    assert len(made) == len(told)
    assert all((len(one), one[6] >> 4, one[8] >> 6) == (16, 8, 2) for one in made)
    assert all(int.from_bytes(one[:6]) == ts // 1_000_000 for one in made)
    others = ids(identity + b"\x01", ts, frame), ids(identity, ts + 1, frame), ids(identity, ts, frame + 1)
    assert len({*made, *(one for ids in others for one in ids)}) == 4 * len(told)


def test_ids_are_unique(wire):
    """No two messages of a capture have the same id, and they sort by time to the millisecond."""
    messages = wire.sniff(wire.plant_tape(500, tids=3).packets)
    ids = [message.id for message in messages]
    assert len(set(ids)) == len(ids)
    times = [message.ts // 1_000_000 for message in messages]
    assert [int.from_bytes(made[:6]) for made in ids] == [ms & (1 << 48) - 1 for ms in times]


@pytest.mark.capture
def test_whole_runs_repeat(wire):
    """A whole run over real traffic has the same hash every time, whatever the size of the batches."""
    path = wire.CAPTURES / "modbus" / "modbus_test_2.pcap"
    if not path.exists():
        pytest.skip(f"the capture is not there: {path}")
    packets = list(read_capture(path))
    hashes = set()
    for size in (1, 97, 100_000):
        sniffer = Sniffer(Recorder("rack/tap", "acme/tap", bytes(32)), Settings())
        digest = hashlib.sha256()
        for at in range(0, len(packets), size):
            sniffer.feed(packets[at : at + size])
            digest.update(encode_sequence(sniffer.take()))
        sniffer.finish()
        digest.update(encode_sequence(sniffer.take()))
        hashes.add(digest.hexdigest())
    assert len(hashes) == 1


def test_silence_has_a_time(wire):
    """The counters of a live capture without a packet are of the time at which it ended."""
    sniffer = Sniffer(Recorder("rack/tap", "acme/tap", bytes(32)), Settings())
    sniffer.tick(wire.START_NS)
    sniffer.finish()
    assert [(message.schema, message.ts) for message in sniffer.take()] == [("ot.capture/1", wire.START_NS)]
