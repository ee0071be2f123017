"""The planner's promises."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.modbus.address import BIT_TABLES, TABLES, Address, Span
from fluxrig.modbus.plan import LAWFUL, Block, Limits, plan
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.value_type import FORMS


@st.composite
def tags(draw, near=400):
    """Tags with names of their own, close enough to share blocks, also overlapping and at the end."""
    found = []
    base = draw(st.sampled_from([0, 65532 - near]))
    for n in range(draw(st.integers(1, 60))):
        table = draw(st.sampled_from(TABLES))
        kind = "bool" if table in BIT_TABLES else draw(st.sampled_from(sorted(FORMS)))
        number = base + draw(st.integers(0, near - 1))
        found.append(Tag(f"t{n}", Address(table, number), kind))
    return found


@given(tags(), st.integers(0, 300))
def test_every_tag_is_read_once_and_whole(wanted, max_hole):
    """Each tag is in exactly one block, of its own table, with all its registers."""
    blocks = plan(wanted, max_hole)
    assert sorted(tag.name for block in blocks for tag in block.tags) == sorted(tag.name for tag in wanted)
    for block in blocks:
        for tag in block.tags:
            assert tag.at.table == block.table
            assert block.start <= tag.start
            assert tag.end <= block.start + block.count


@given(tags(), st.integers(0, 300))
def test_no_request_is_unlawful(wanted, max_hole):
    """No block is empty, larger than its function allows, or beyond address 65535."""
    for block in plan(wanted, max_hole):
        assert 1 <= block.count <= LAWFUL.of(block.table)
        assert 0 <= block.start <= block.start + block.count <= 65536


@given(tags(), st.integers(0, 300), st.integers(4, 125), st.integers(1, 2000))
def test_limits_go_down(wanted, max_hole, registers, bits):
    """Configured limits hold, each tag is still read once, and there is at most one request for each tag."""
    limits = Limits(registers, bits)
    blocks = plan(wanted, max_hole, limits)
    assert all(block.count <= limits.of(block.table) for block in blocks)
    assert sorted(tag.name for block in blocks for tag in block.tags) == sorted(tag.name for tag in wanted)
    assert len(plan(wanted, max_hole)) <= len(blocks) <= len(wanted)


@given(tags(), st.integers(0, 300), st.integers(0, 400), st.integers(1, 20))
def test_forbidden_ranges_are_never_read(wanted, max_hole, start, size):
    """No request touches an address of a forbidden range that no tag asks for by itself."""
    closed = [Span(table, start, start + size) for table in TABLES]
    clear = [tag for tag in wanted if not any(span.meets(tag.span) for span in closed)]
    blocks = plan(clear, max_hole, forbidden=closed)
    assert not any(span.meets(block.span) for block in blocks for span in closed)
    assert sum(len(block.tags) for block in blocks) == len(clear)


@given(tags(), st.integers(0, 300))
def test_no_hole_is_larger_than_allowed(wanted, max_hole):
    """A block reads through at most `max_hole` addresses in a row that nobody asked for, and begins and
    ends at a tag."""
    for block in plan(wanted, max_hole):
        asked = {number for tag in block.tags for number in range(tag.start, tag.end)}
        hole = 0
        for number in range(block.start, block.start + block.count):
            hole = 0 if number in asked else hole + 1
            assert hole <= max_hole
        assert block.start in asked
        assert block.start + block.count - 1 in asked


@given(tags(), st.integers(0, 300))
def test_blocks_that_could_be_one_are(wanted, max_hole):
    """Two blocks in a row can't be joined within the limits."""
    blocks = plan(wanted, max_hole)
    for one, two in pairwise(blocks):
        if one.table == two.table:
            too_far = two.start > one.start + one.count + max_hole
            too_large = max(tag.end for tag in two.tags[:1]) - one.start > LAWFUL.of(one.table)
            assert too_far or too_large


@given(tags(), st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_the_tags(wanted, random):
    """The same tags in any order give the same requests."""
    shuffled = list(wanted)
    random.shuffle(shuffled)
    assert [str(block) for block in plan(shuffled, 8)] == [str(block) for block in plan(wanted, 8)]


@given(tags())
def test_halves_hold_the_same_tags(wanted):
    """Halving loses no tag, and never splits a value."""
    for block in plan(wanted, 300):
        if len(block.tags) > 1:
            one, two = block.halves()
            assert one.tags + two.tags == block.tags
            for half in (one, two):
                assert half == Block.of(half.tags)


@pytest.mark.parametrize(("max_hole", "requests"), [(0, 3), (1, 2), (10, 1)])
def test_holes_are_worth_a_request_up_to_max_hole(max_hole, requests):
    """uint16 at 0, 2 and 13: the holes are 1 and 10 wide."""
    wanted = [Tag(str(n), Address("holding", n), "uint16") for n in (0, 2, 13)]
    assert len(plan(wanted, max_hole)) == requests


def test_a_value_is_never_split_at_the_limit():
    """63 floats are 126 registers: the last one goes into a request of its own, whole."""
    wanted = [Tag(str(n), Address("holding", n * 2), "float32") for n in range(63)]
    assert [(block.start, block.count) for block in plan(wanted, 0)] == [(0, 124), (124, 2)]
