"""Only the answer that was asked for is taken."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.io_modbus.answer import Question, fault_in

QUESTION = Question(transaction=7, unit=1, function=3, count=2)
GOOD = struct.pack(">HHHBBB", 7, 0, 7, 1, 3, 4) + bytes(4)
REFUSED = struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, 2)


def test_a_question_is_read_back_from_its_request():
    """What went out is what the answer is held against."""
    assert Question.of(struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 100, 2)) == QUESTION


@pytest.mark.parametrize("answer", [GOOD, REFUSED])
def test_the_right_answer_passes_however_it_is_cut(answer):
    """No prefix of a good answer is a fault."""
    for end in range(len(answer) + 1):
        assert fault_in(answer[:end], QUESTION) is None


@pytest.mark.parametrize(
    ("position", "name"),
    [
        (1, "transaction id"),
        (3, "protocol id"),
        (5, "length"),
        (6, "unit"),
        (7, "function"),
        (8, "byte count"),
    ],
)
def test_a_field_that_differs_is_named(position, name):
    """Each field that can be known beforehand is held against the question."""
    wrong = bytearray(GOOD)
    wrong[position] ^= 0x10
    assert name in str(fault_in(bytes(wrong), QUESTION))


def test_bytes_behind_the_answer_are_a_fault():
    """A second answer in the same packet was not asked for."""
    assert fault_in(GOOD + b"\0", QUESTION) == "1 bytes came behind the answer"


@given(
    st.binary(max_size=300),
    st.builds(Question, *[st.integers(0, 255)] * 2, st.integers(1, 4), st.integers(1, 2000)),
)
def test_any_bytes_are_judged(answer, question):
    """Garbage is a fault or still incomplete, never an exception."""
    assert fault_in(answer, question) is None or fault_in(answer, question)


@pytest.mark.parametrize(
    ("function", "count", "payload"), [(1, 1, 1), (2, 8, 1), (1, 9, 2), (3, 125, 250), (4, 1, 2)]
)
def test_the_payload_is_known_beforehand(function, count, payload):
    """Bits are packed by eight, registers have two bytes."""
    assert Question(0, 1, function, count).payload == payload
