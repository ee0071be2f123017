"""The planner's promises."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gears.io_modbus.address import BIT_TABLES, MAX_READ, TABLES, Address
from gears.io_modbus.decode import FORMATS
from gears.io_modbus.plan import Block, plan
from gears.io_modbus.tag import Tag


@st.composite
def tags(draw, near=400):
    """Tags with names of their own, close enough to share blocks, also overlapping and at the end."""
    found = []
    base = draw(st.sampled_from([0, 65535 - near]))
    for n in range(draw(st.integers(1, 60))):
        table = draw(st.sampled_from(TABLES))
        kind = "bool" if table in BIT_TABLES else draw(st.sampled_from(sorted(FORMATS)))
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
        assert 1 <= block.count <= MAX_READ[block.table]
        assert 0 <= block.start <= block.start + block.count <= 65536


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
            too_large = max(tag.end for tag in two.tags[:1]) - one.start > MAX_READ[one.table]
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
