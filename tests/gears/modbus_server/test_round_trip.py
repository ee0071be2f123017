"""Whatever the type, order, scale and offset: what comes in is what a client reads, and what it writes."""

import contextlib
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.modbus.decode import decode_value
from fluxrig.modbus.encode import encode_value
from fluxrig.modbus.value_type import FORMS, INT_TYPES, SHORT_ORDERS
from gears.modbus_server.config import ServedTag
from gears.modbus_server.image import Image
from gears.modbus_server.pdu import Request, answer, packed
from gears.modbus_server.writing import Bound

MBPOLL = shutil.which("mbpoll")

NUMBERS = {
    **{
        name: st.integers(
            -(1 << 8 * form.size - 1) if form.code in "bhiq" else 0,
            (1 << 8 * form.size - (form.code in "bhiq")) - 1,
        )
        for name, form in FORMS.items()
        if name in INT_TYPES
    },
    "float16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
    "bcd16": st.integers(0, 9999),
    "bcd32": st.integers(0, 99_999_999),
}
PARTS = {"int8_high", "int8_low", "uint8_high", "uint8_low"}


@st.composite
def tags_and_values(draw):
    """A tag somewhere in the holding registers, and a value that its registers can hold exactly."""
    value_type = draw(st.sampled_from(sorted(NUMBERS)))
    entry = {"at": f"holding/{draw(st.integers(0, 65532))}", "type": value_type, "write": True}
    if value_type not in PARTS:
        entry["order"] = draw(st.sampled_from(SHORT_ORDERS))
    if draw(st.booleans()) and value_type in INT_TYPES | {"bcd16", "bcd32"}:
        entry["scale"] = draw(st.sampled_from([0.5, 2.0, -4.0, 0.125]))
        entry["offset"] = draw(st.sampled_from([0.0, -40.0, 100.0]))
    tag = ServedTag.model_validate(entry).to_tag("t")
    raw = draw(NUMBERS[value_type])
    if tag.scale is None:
        return tag, raw
    if abs(raw) > 1 << 40:  # scaled values are floats, which hold no more than 53 bits
        raw >>= 24
    return tag, raw * tag.scale + tag.offset


def ask(image, pdu):
    return answer(Request(pdu, image, {"t": Bound()}, 0))


@given(tags_and_values())
def test_what_comes_in_is_what_is_read(tag_and_value):
    """The registers of an answer decode to the value that came in."""
    tag, value = tag_and_value
    image = Image([tag])
    image.put("t", value, 0)
    reply = ask(image, struct.pack(">BHH", 3, tag.start, tag.size)).pdu
    assert reply[:2] == bytes([3, 2 * tag.size])
    assert decode_value(tag, reply[2:]) == value


@given(tags_and_values())
def test_what_is_written_is_what_comes_out(tag_and_value):
    """Registers that a client writes give the value that it meant."""
    tag, value = tag_and_value
    image = Image([tag])
    image.put("t", value, 0)
    data = encode_value(tag, value).payload
    reply = ask(image, struct.pack(">BHHB", 16, tag.start, tag.size, 2 * tag.size) + data)
    assert (reply.pdu, reply.written) == (struct.pack(">BHH", 16, tag.start, tag.size), {"t": value})


@given(st.binary(min_size=1, max_size=253))
def test_no_request_breaks_the_server(pdu):
    """Any bytes are answered or refused, and change nothing."""
    from gears.modbus_server.image import Refused

    tags = {
        "t": {"at": "holding/0", "type": "float32", "write": True},
        "s": {"at": "holding/4", "type": "string", "length": 5, "write": True},
        "b": {"at": "holding/8", "type": "bcd16", "write": True},
        "c": {"at": "coil/0", "write": True},
    }
    image = Image([ServedTag.model_validate(entry).to_tag(name) for name, entry in tags.items()])
    image.put("t", 1.5, 0)
    with contextlib.suppress(Refused):
        reply = answer(Request(pdu, image, dict.fromkeys(tags, Bound()), 0))
        assert reply.pdu[0] == pdu[0]
        assert len(reply.pdu) <= 253
    assert image.read("holding", 0, 2, 0) == struct.pack(">f", 1.5)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_bits_are_packed_as_the_protocol_says(bits):
    """The first bit is the lowest of the first byte, and what is left of the last byte is 0 (§6.1)."""
    payload = packed(bytes(bits))
    assert len(payload) == (len(bits) + 7) // 8
    read = [bool(payload[n >> 3] >> (n & 7) & 1) for n in range(8 * len(payload))]
    assert read == bits + [False] * (len(read) - len(bits))


@pytest.mark.skipif(MBPOLL is None, reason="mbpoll is not installed; apt-get install mbpoll")
class TestMbpoll:
    """The same with libmodbus, an implementation that shares nothing with ours."""

    async def run(self, served, *options):
        import asyncio

        command = [MBPOLL, "-0", "-1", "-q", "-p", str(served.port), *options]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=20, check=False
        )
        values = [line.split("\t")[1].strip() for line in done.stdout.splitlines() if line.startswith("[")]
        return values, done

    async def test_it_reads(self, serve):
        """Registers, floats in both word orders, integers of 32 bits, coils and discrete inputs."""
        served = await serve(
            {
                "low_first": {"at": "holding/0", "type": "float32", "order": "CDAB"},
                "high_first": {"at": "holding/2", "type": "float32"},
                "count": {"at": "holding/4", "type": "int32", "order": "CDAB"},
                "level": {"at": "input/1"},
                "on": {"at": "coil/2"},
                "hot": {"at": "discrete/3"},
            }
        )
        await served.put(
            {
                "low_first": 4.25,
                "high_first": -0.5,
                "count": -70_000,
                "level": 50_000,
                "on": True,
                "hot": False,
            }
        )
        expected = {
            ("-t", "4:float", "-r", "0"): "4.25",
            ("-t", "4:float", "-B", "-r", "2"): "-0.5",
            ("-t", "4:int", "-r", "4"): "-70000",
            ("-t", "3", "-r", "1"): "50000 (-15536)",
            ("-t", "0", "-r", "2"): "1",
            ("-t", "1", "-r", "3"): "0",
        }
        for options, text in expected.items():
            values, done = await self.run(served, *options, "127.0.0.1")
            assert values == [text], done

    async def test_it_writes(self, serve):
        """Coils, registers and floats, and what may not be written is refused."""
        served = await serve(
            {
                "on": {"at": "coil/2", "write": True},
                "speed": {"at": "holding/0", "write": True},
                "setpoint": {"at": "holding/2", "type": "float32", "order": "CDAB", "write": True},
                "fixed": {"at": "holding/9"},
            }
        )
        for options in (
            ("-t", "0", "-r", "2", "127.0.0.1", "1"),
            ("-t", "4", "-r", "0", "127.0.0.1", "1200"),
            ("-t", "4:float", "-r", "2", "127.0.0.1", "4.25"),
        ):
            _, done = await self.run(served, *options)
            assert done.returncode == 0, done
        assert [message.data for message in served.bench.out] == [
            {"on": True},
            {"speed": 1200},
            {"setpoint": 4.25},
        ]
        _, done = await self.run(served, "-t", "4", "-r", "9", "127.0.0.1", "1")
        assert done.returncode != 0
        assert "Illegal data address" in done.stderr + done.stdout
