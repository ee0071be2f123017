"""Tags of every type, order and scale, and bytes for them."""

from hypothesis import strategies as st

from fluxrig.modbus.address import BIT_TABLES, TABLES, Address
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.value_type import FLOAT_TYPES, FORMS, PART_TYPES, SHORT_ORDERS, VALUE_TYPES

LONG_ORDERS = ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA")


NEAR = st.integers(0, 400)


@st.composite
def tags(draw, name="t", tables=TABLES, addresses=NEAR, scaled=True):
    """One tag that a configuration could name."""
    table = draw(st.sampled_from(tables))
    number = draw(addresses)
    if table in BIT_TABLES:
        return Tag(name, Address(table, number), "bool")
    kind = draw(st.sampled_from(VALUE_TYPES))
    if kind == "bool":
        return Tag(name, Address(table, number, draw(st.integers(0, 15))), kind)
    if kind == "string":
        order = draw(st.sampled_from(("ABCD", "BADC")))
        return Tag(name, Address(table, number), kind, order, length=draw(st.integers(1, 40)))
    orders = SHORT_ORDERS + LONG_ORDERS if FORMS[kind].registers == 4 else SHORT_ORDERS
    order = "ABCD" if kind in PART_TYPES else draw(st.sampled_from(orders))
    scale = draw(st.sampled_from((None, None, 0.1, 2.5, -1.0))) if scaled else None
    offset = draw(st.sampled_from((None, None, -40.0, 0.5))) if scaled else None
    return Tag(name, Address(table, number), kind, order, scale, offset)


def raw_values(kind):
    """Every number that the registers of a type can hold."""
    if kind in FLOAT_TYPES:
        return st.floats(width=FORMS[kind].registers * 16, allow_nan=False, allow_infinity=False)
    if kind.startswith("bcd"):
        return st.integers(0, 10 ** (FORMS[kind].registers * 4) - 1)
    bits = FORMS[kind].size * 8
    low = 0 if kind.startswith("u") else -(2 ** (bits - 1))
    return st.integers(low, low + 2**bits - 1)


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=40)
