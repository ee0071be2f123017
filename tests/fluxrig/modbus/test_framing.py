"""Only the answer that was asked for is taken, whatever it is wrapped in."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii, FramerRTU

from fluxrig.modbus import pdu
from fluxrig.modbus.framing import FRAMINGS, BadChecksum, Question, crc, lrc

NAMES = sorted(FRAMINGS)
REQUESTS = [
    pdu.read_request("holding", 100, 2),
    pdu.read_request("coil", 0, 9),
    pdu.write_coil(7, True),
    pdu.write_register(7, b"\x12\x34"),
    pdu.write_coils(7, [True, False, True]),
    pdu.write_registers(7, b"\x12\x34\x56\x78"),
    pdu.mask_write(7, b"\0\x04", 0x000C),
]


def answer_to(question, *, unit=None, transaction=None, body=None):
    """The right answer, but for what is named."""
    request = question.request
    body = request.echo + bytes(request.answer_size - len(request.echo)) if body is None else body
    return question_of(request, unit or question.unit, transaction or question.transaction, body)


def question_of(request, unit, transaction, body):
    return Question(unit, transaction, pdu.Request(body, request.echo, request.answer_size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: f"fc{request.function}")
def test_the_right_answer_passes_however_it_is_cut(name, request_):
    """No prefix of a good answer is a fault, and the whole is taken; a refusal likewise."""
    framing, question = FRAMINGS[name], Question(5, 0x0102, request_)
    for body in (None, bytes([request_.function | 0x80, 2])):
        whole = framing.frame(answer_to(question, body=body))
        for end in range(len(whole)):
            assert framing.answer(whole[:end], question) is None
        taken = framing.answer(whole, question)
        assert taken == answer_to(question, body=body).request.pdu
        with pytest.raises(pdu.WrongAnswer, match="behind the answer"):
            framing.answer(whole + b"00", question)


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_one_wrong_bit_is_never_a_value(name, data):
    """A single bit that is flipped outside the values is found; with a checksum, also one in the values."""
    framing, question = FRAMINGS[name], Question(5, 0x0102, data.draw(st.sampled_from(REQUESTS)))
    whole = bytearray(framing.frame(answer_to(question)))
    known = len(whole) - (question.request.answer_size - len(question.request.echo) if name == "mbap" else 0)
    place = data.draw(st.integers(0, known - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        taken = framing.answer(bytes(whole), question)
    except pdu.WrongAnswer:
        return
    assert taken is None or taken == answer_to(question).request.pdu, "hex digits have two cases"


@pytest.mark.parametrize("name", NAMES)
@given(st.binary(max_size=300), st.sampled_from(REQUESTS))
def test_any_bytes_are_judged(name, received, request_):
    """Garbage is a fault or not whole yet, never another error."""
    with contextlib.suppress(pdu.WrongAnswer):
        FRAMINGS[name].answer(received, Question(1, 1, request_))


@pytest.mark.parametrize(
    ("change", "named"),
    [({"unit": 6}, "unit 6 instead of 5"), ({"transaction": 9}, "transaction id 9 instead of 258")],
)
def test_what_differs_is_named(change, named):
    """The error says what came and what should have."""
    question = Question(5, 0x0102, REQUESTS[0])
    with pytest.raises(pdu.WrongAnswer, match=named):
        FRAMINGS["mbap"].answer(FRAMINGS["mbap"].frame(answer_to(question, **change)), question)


def test_lengths_functions_and_echoes_are_held_to_the_question():
    """Fewer values, another function, another address written: each is a wrong answer."""
    for request, body, named in [
        (REQUESTS[0], b"\x03\x02\0\0", "byte count 2 instead of 4"),
        (REQUESTS[0], b"\x04\x04\0\0\0\0", "function 4 instead of 3"),
        (REQUESTS[3], b"\x06\0\x08\x12\x34", "repeats"),
        (REQUESTS[5], b"\x10\0\x07\0\x01", "repeats"),
    ]:
        for framing in FRAMINGS.values():
            with pytest.raises(pdu.WrongAnswer, match=named):
                framing.answer(framing.frame(question_of(request, 5, 1, body)), Question(5, 1, request))
    short = struct.pack(">HHHB", 1, 0, 6, 5) + b"\x03\x04\0\0\0\0"
    with pytest.raises(pdu.WrongAnswer, match="length 6 instead of 7"):
        FRAMINGS["mbap"].answer(short, Question(5, 1, REQUESTS[0]))


@given(st.binary(min_size=1, max_size=60))
def test_checksums_are_those_of_the_specification(body):
    """CRC and LRC equal those of another implementation."""
    assert crc(body) == FramerRTU.compute_CRC(body).to_bytes(2, "big")
    assert lrc(body)[0] == FramerAscii.compute_LRC(body)


@pytest.mark.parametrize(("name", "place"), [("rtu", -1), ("ascii", -3)])
def test_a_hurt_answer_is_told_from_a_wrong_one(name, place):
    """A whole answer with a wrong checksum is over: the line is free again."""
    question = Question(5, 1, REQUESTS[0])
    whole = bytearray(FRAMINGS[name].frame(answer_to(question)))
    whole[place] ^= 1
    with pytest.raises(BadChecksum, match="check wiring"):
        FRAMINGS[name].answer(bytes(whole), question)
